/** The frame: views by address, the keyboard, the key, light and dark. */
import { signal } from "@preact/signals";
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { learnWhatIsOffered, locked, signedIn, signIn, signOut, supports } from "./api";
import { Ask, Search } from "./ask";
import { Library } from "./library";
import { Live } from "./live";
import { Operate } from "./operate";
import { Dock, Icon, Notice, Toasts } from "./parts";
import * as player from "./player";
import "./style.css";
import { text } from "./text";
import { moves, TranscriptView } from "./transcript";

const address = signal(location.hash);
const showKeys = signal(false);
addEventListener("hashchange", () => {
  address.value = location.hash;
  document.title = "RayScribe";
  document.getElementById("content")?.focus({ preventScroll: true });
});

interface Shortcut {
  keys: string;
  matches: (event: KeyboardEvent) => boolean;
  does: string;
  run: () => void;
}

const plain = (event: KeyboardEvent) => !event.ctrlKey && !event.metaKey && !event.altKey;
const named = (key: string, shift = false) => (event: KeyboardEvent) => event.key === key && event.shiftKey === shift && plain(event);
const typed = (key: string) => (event: KeyboardEvent) => event.key === key && plain(event);

/** The table that the page shows, and the one that it obeys. */
const SHORTCUTS: readonly Shortcut[] = [
  { keys: "Space", matches: named(" "), does: "Play or pause", run: player.toggle },
  { keys: "← →", matches: (event) => named("ArrowLeft")(event) || named("ArrowRight")(event), does: "5 seconds back or forward", run: () => undefined },
  { keys: "Shift + ← →", matches: (event) => named("ArrowLeft", true)(event) || named("ArrowRight", true)(event), does: "30 seconds back or forward", run: () => undefined },
  { keys: "<", matches: typed("<"), does: "Slower", run: () => player.changeSpeed(-1) },
  { keys: ">", matches: typed(">"), does: "Faster", run: () => player.changeSpeed(1) },
  { keys: "n", matches: typed("n"), does: "Next speaker", run: () => moves.value?.nextSpeaker(1) },
  { keys: "p", matches: typed("p"), does: "Previous speaker", run: () => moves.value?.nextSpeaker(-1) },
  { keys: "/", matches: typed("/"), does: "Find in the transcript, or search", run: () => (moves.value ? moves.value.find() : (location.hash = "#/search")) },
  { keys: "g", matches: typed("g"), does: "Library", run: () => (location.hash = "#/") },
  { keys: "a", matches: typed("a"), does: "Ask", run: () => (location.hash = "#/ask") },
  { keys: "?", matches: typed("?"), does: "This table", run: () => (showKeys.value = true) },
];

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable]") !== null;
}

addEventListener("keydown", (event) => {
  if (isTyping(event.target) || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  // Space presses the button that has the focus.
  if (event.key === " " && event.target instanceof HTMLElement && event.target.closest("button, a, summary")) return;
  const shortcut = SHORTCUTS.find((one) => one.matches(event));
  if (!shortcut) return;
  event.preventDefault();
  if (event.key === "ArrowLeft") player.skip(event.shiftKey ? -30 : -5);
  else if (event.key === "ArrowRight") player.skip(event.shiftKey ? 30 : 5);
  else shortcut.run();
});

function KeyTable() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (showKeys.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [showKeys.value]);
  return (
    <dialog ref={dialog} aria-labelledby="keys-title" onClose={() => (showKeys.value = false)}>
      <h2 id="keys-title">{text.keys.title}</h2>
      <table>
        <thead class="hidden">
          <tr>
            <th scope="col">{text.keys.key}</th>
            <th scope="col">{text.keys.does}</th>
          </tr>
        </thead>
        <tbody>
          {SHORTCUTS.map((shortcut) => (
            <tr key={shortcut.keys}>
              <td>
                <kbd>{shortcut.keys}</kbd>
              </td>
              <td>{shortcut.does}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <button type="button" class="primary" onClick={() => (showKeys.value = false)}>
        {text.keys.close}
      </button>
    </dialog>
  );
}

function Gate() {
  const [wrong, setWrong] = useState(false);
  return (
    <div class="view gate">
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          const entered = new FormData(event.currentTarget).get("key");
          setWrong(!(await signIn(String(entered).trim())));
        }}
      >
        <h1>{text.key.title}</h1>
        <p>{text.key.lead}</p>
        <label class="field">
          {text.key.label}
          <input name="key" type="password" autocomplete="current-password" required />
        </label>
        {wrong && <Notice kind="error">{text.key.wrong}</Notice>}
        <button type="submit" class="primary">
          {text.key.enter}
        </button>
      </form>
    </div>
  );
}

const VIEWS = [
  ["#/", "library", text.nav.library],
  ["#/search", "search", text.nav.search],
  ["#/ask", "ask", text.nav.ask],
  ["#/live", "live", text.nav.live],
  ["#/operate", "operate", text.nav.operate],
] as const;

function View() {
  if (locked.value) return <Gate />;
  const [path, query] = address.value.replace(/^#/, "").split("?");
  const job = /^\/jobs\/([0-9a-f-]+)$/.exec(path ?? "")?.[1];
  const at = new URLSearchParams(query).get("t");
  if (job) return <TranscriptView key={job} id={job} at={at === null ? null : Number(at)} />;
  if (path === "/search") return <Search />;
  if (path === "/ask") return <Ask />;
  if (path === "/live") return <Live />;
  if (path === "/operate") return <Operate />;
  return <Library />;
}

type Theme = "auto" | "light" | "dark";

function ThemeChoice() {
  const [theme, setTheme] = useState<Theme>(() => (localStorage.getItem("rayscribe-theme") as Theme) ?? "auto");
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("rayscribe-theme", theme);
  }, [theme]);
  return (
    <label class="theme">
      <span class="hidden">{text.theme.label}</span>
      <select value={theme} onChange={(event) => setTheme(event.currentTarget.value as Theme)}>
        {(["auto", "light", "dark"] as const).map((one) => (
          <option key={one} value={one}>
            {text.theme[one]}
          </option>
        ))}
      </select>
    </label>
  );
}

function Page() {
  const path = address.value.split("?")[0] || "#/";
  const here = (hash: string) => path === hash || (hash === "#/" && path.startsWith("#/jobs/"));
  return (
    <>
      <a class="skip" href="#content" onClick={(event) => (event.preventDefault(), document.getElementById("content")?.focus())}>
        {text.skip}
      </a>
      <header class="side">
        <a class="brand" href="#/">
          <img src="/web/icon.svg" alt="" width="30" height="30" />
          RayScribe
        </a>
        <nav aria-label={text.nav.label}>
          {VIEWS.filter(([hash]) => hash !== "#/live" || supports("/v1/realtime/client_secrets", "post")).map(([hash, icon, label]) => (
            <a key={hash} href={hash} aria-current={here(hash) ? "page" : undefined}>
              <Icon name={icon} />
              {label}
            </a>
          ))}
        </nav>
        <div class="side-foot">
          <button type="button" class="quiet" aria-label={text.keysButton} onClick={() => (showKeys.value = true)}>
            <Icon name="keyboard" />
            <span>{text.keysButton}</span> <kbd>?</kbd>
          </button>
          {signedIn.value && (
            <button type="button" class="quiet" onClick={() => void signOut()}>
              {text.signOut}
            </button>
          )}
          <ThemeChoice />
        </div>
      </header>
      <main id="content" tabIndex={-1}>
        <View />
      </main>
      <Dock />
      <Toasts />
      <KeyTable />
    </>
  );
}

render(<Page />, document.getElementById("page")!);
learnWhatIsOffered().catch(() => undefined);
