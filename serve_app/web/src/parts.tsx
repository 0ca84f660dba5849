/** What several views are made of: icons, moments, notices, the waveform and the player at the foot of the page. */
import { effect, signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./api";
import * as player from "./player";
import { text } from "./text";

const ICONS = {
  play: "M8 5.5v13l11-6.500z",
  pause: "M7 5h3.500v14H7zM13.500 5H17v14h-3.500z",
  close: "M6 6l12 12M18 6L6 18",
  back: "M11 6l-6 6 6 6M5 12h14",
  search: "M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM15.500 15.500L20 20",
  library: "M5 4v16M10 4v16M14.500 4.500l4.500 15",
  ask: "M4 5h16v11H9l-5 4z",
  live: "M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5 11a7 7 0 0 0 14 0M12 18v3",
  operate: "M3 12h4l3-8 4 16 3-8h4",
  upload: "M12 16V4M7 9l5-5 5 5M4 16v4h16v-4",
  check: "M5 13l4.500 4.500L19 7",
  pen: "M4 20l1-4L16 5l3 3L8 19z",
  download: "M12 4v11M7 11l5 5 5-5M4 20h16",
  keyboard: "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M8 14h8",
  warning: "M12 4l9 16H3zM12 10v4M12 17h.01",
  stop: "M6 6h12v12H6z",
} as const;
const FILLED: ReadonlySet<string> = new Set(["play", "pause", "stop"]);

export function Icon({ name }: { name: keyof typeof ICONS }) {
  return (
    <svg class={FILLED.has(name) ? "icon filled" : "icon"} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={ICONS[name]} />
    </svg>
  );
}

/** 3:07, or 1:03:07. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number: number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

export function ago(moment: string): string {
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
  const seconds = (Date.parse(moment) - Date.now()) / 1000;
  for (const [unit, size] of [["day", 86_400], ["hour", 3600], ["minute", 60]] as const)
    if (Math.abs(seconds) >= size) return format.format(Math.trunc(seconds / size), unit);
  return format.format(0, "second");
}

export function bytes(count: number): string {
  return count < 1e6 ? `${Math.max(1, Math.round(count / 1e3))} kB` : `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;
}

/** What went wrong, in words. */
export const words = (error: unknown): string => (error instanceof ApiError ? error.message : text.failed);

/** Scripts that are read from right to left. */
export const direction = (language: string | null | undefined): "rtl" | "ltr" | "auto" =>
  language ? (["ar", "he", "fa", "ur", "yi", "ps", "sd", "ug", "dv"].includes(language) ? "rtl" : "ltr") : "auto";

/** Each speaker of a recording has a colour, by the order in which they come; there are eight. */
export const colour = (speakers: readonly string[], name: string | null | undefined): string => {
  const at = name ? speakers.indexOf(name) : -1;
  return at < 0 ? "speaker-none" : `speaker-${at % 8}`;
};

export interface Toast {
  id: number;
  words: string;
  action?: { label: string; run: () => void };
  until: number;
}

export const toasts = signal<Toast[]>([]);
let toastCount = 0;

export function say(words: string, action?: Toast["action"], seconds = 6): () => void {
  const id = ++toastCount;
  const close = () => {
    toasts.value = toasts.value.filter((toast) => toast.id !== id);
  };
  toasts.value = [...toasts.value, { id, words, until: Date.now() + seconds * 1000, action: action && { label: action.label, run: () => (close(), action.run()) } }];
  setTimeout(close, seconds * 1000);
  return close;
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <div class="toast" key={toast.id}>
          <span>{toast.words}</span>
          {toast.action && (
            <button type="button" onClick={toast.action.run}>
              {toast.action.label}
            </button>
          )}
        </div>
      ))}
    </div>
  );
}

export function Notice({ kind = "info", children }: { kind?: "info" | "warning" | "error"; children: ComponentChildren }) {
  return (
    <div class={`notice ${kind}`} role={kind === "error" ? "alert" : undefined}>
      {kind !== "info" && <Icon name="warning" />}
      <div>{children}</div>
    </div>
  );
}

export function Empty({ title, lead, children }: { title: string; lead: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <svg viewBox="0 0 120 40" aria-hidden="true">
        {[6, 14, 24, 12, 30, 20, 34, 16, 26, 10, 18, 8].map((height, at) => (
          <rect key={at} x={4 + at * 9.5} y={20 - height / 2} width="4" height={height} rx="2" />
        ))}
      </svg>
      <h2>{title}</h2>
      <p>{lead}</p>
      {children}
    </div>
  );
}

/** A moment that can be heard. */
export function Moment({ jobId, name, start_s, end_s }: { jobId: string; name: string; start_s: number; end_s?: number }) {
  return (
    <button type="button" class="moment" aria-label={text.transcript.playFrom(clock(start_s))} onClick={() => player.playAt({ jobId, name }, start_s, end_s)}>
      <Icon name="play" />
      {clock(start_s)}
    </button>
  );
}

/** Peaks of the loaded recording, drawn to the width there is; a click or the arrows seek. */
export function WaveformBar({ height, marks }: { height: number; marks?: { start_s: number; end_s: number } | null }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const element = canvas.current!;
    const draw = () => drawPeaks(element, marks);
    const watcher = new ResizeObserver(draw);
    watcher.observe(element);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", draw);
    const themes = new MutationObserver(draw);
    themes.observe(document.documentElement, { attributes: true });
    const stop = effect(draw);
    return () => {
      watcher.disconnect();
      themes.disconnect();
      scheme.removeEventListener("change", draw);
      stop();
    };
  }, [marks]);
  const seekTo = (event: PointerEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    player.seek(((event.clientX - box.left) / box.width) * player.length.value);
  };
  return (
    <canvas
      ref={canvas}
      class="waveform"
      style={{ height: `${height}px` }}
      role="slider"
      tabIndex={0}
      aria-label={text.transcript.waveform}
      aria-valuemin={0}
      aria-valuemax={Math.round(player.length.value)}
      aria-valuenow={Math.round(player.time.value)}
      aria-valuetext={clock(player.time.value)}
      onPointerDown={(event) => {
        canvas.current!.setPointerCapture(event.pointerId);
        seekTo(event);
      }}
      onPointerMove={(event) => event.buttons && seekTo(event)}
    />
  );
}

function drawPeaks(canvas: HTMLCanvasElement, marks?: { start_s: number; end_s: number } | null): void {
  // Read before anything else: an effect follows what it has read.
  const [found, length, now, marked] = [player.waveform.value, player.length.value, player.time.value, marks ?? player.span.value];
  const scale = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width) return;
  if (canvas.width !== width * scale || canvas.height !== height * scale) {
    canvas.width = width * scale;
    canvas.height = height * scale;
  }
  const style = getComputedStyle(canvas);
  const paint = canvas.getContext("2d")!;
  paint.setTransform(scale, 0, 0, scale, 0, 0);
  paint.clearRect(0, 0, width, height);
  const played = length ? (now / length) * width : 0;
  if (marked && length) {
    paint.fillStyle = style.getPropertyValue("--mark");
    paint.fillRect((marked.start_s / length) * width, 0, Math.max(2, ((marked.end_s - marked.start_s) / length) * width), height);
  }
  const peaks = found?.peaks ?? [];
  const [step, middle] = [3, height / 2];
  const loudest = Math.max(12, ...peaks.slice(0, 8192));
  for (let x = 0; x < width; x += step) {
    const from = Math.floor((x / width) * peaks.length);
    const to = Math.max(from + 1, Math.floor(((x + step) / width) * peaks.length));
    let peak = 0;
    for (let at = from; at < to; at++) peak = Math.max(peak, peaks[at] ?? 0);
    const half = Math.max(0.75, (peak / loudest) * (middle - 1));
    paint.fillStyle = style.getPropertyValue(x < played ? "--accent" : "--wave");
    paint.fillRect(x, middle - half, step - 1, half * 2);
  }
  paint.fillStyle = style.getPropertyValue("--accent");
  paint.fillRect(Math.min(width - 2, played), 0, 2, height);
}

export function Dock() {
  const current = player.track.value;
  if (current === null) return null;
  return (
    <section class="dock" aria-label={text.player.label}>
      <button type="button" class="round" aria-label={player.playing.value ? text.player.pause : text.player.play} onClick={player.toggle}>
        <Icon name={player.playing.value ? "pause" : "play"} />
      </button>
      <div class="dock-name">
        <a href={`#/jobs/${current.jobId}`}>{current.name}</a>
        <span class="times">
          {clock(player.time.value)} / {clock(player.length.value)}
        </span>
      </div>
      <div class="dock-wave">
        {player.trouble.value ? <Notice kind="error">{player.trouble.value}</Notice> : <WaveformBar height={36} />}
      </div>
      <label class="speed">
        <span class="hidden">{text.player.speed}</span>
        <select value={player.speed.value} onChange={(event) => player.setSpeed(Number(event.currentTarget.value))}>
          {player.SPEEDS.map((speed) => (
            <option key={speed} value={speed}>
              {speed} ×
            </option>
          ))}
        </select>
      </label>
      <button type="button" class="quiet" aria-label={text.player.close} onClick={player.close}>
        <Icon name="close" />
      </button>
    </section>
  );
}

/** Load something when a view opens, again whenever ``key`` changes. */
export function useLoaded<Value>(key: string, loading: () => Promise<Value>): { value: Value | null; error: unknown; reload: () => void } {
  const [state, setState] = useState<{ key: string; value: Value | null; error: unknown }>({ key: "", value: null, error: null });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let left = false;
    loading().then(
      (value) => left || setState({ key, value, error: null }),
      (error: unknown) => left || setState({ key, value: null, error }),
    );
    return () => {
      left = true;
    };
  }, [key, round]);
  const fresh = state.key === key;
  return { value: fresh ? state.value : null, error: fresh ? state.error : null, reload: () => setRound((before) => before + 1) };
}
