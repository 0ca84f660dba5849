import preact from "@preact/preset-vite";
import { defineConfig } from "vite";

export default defineConfig({
  base: "/web/",
  plugins: [preact({ reactAliasesEnabled: false, devToolsEnabled: false, prefreshEnabled: false })],
  build: { outDir: "built", emptyOutDir: true, sourcemap: false, target: "es2022", assetsInlineLimit: 0, modulePreload: false },
  // `npx vite` beside a server on port 8000, while the page is being written.
  server: { proxy: { "/v1": "http://127.0.0.1:8000", "/health": "http://127.0.0.1:8000", "/openapi.json": "http://127.0.0.1:8000" } },
});
