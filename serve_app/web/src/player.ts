/** One player for the whole page: whatever plays, plays here. */
import { computed, signal } from "@preact/signals";
import { authorization, get, send, type Waveform } from "./api";
import { text } from "./text";

export interface Track {
  jobId: string;
  name: string;
}

export const track = signal<Track | null>(null);
export const playing = signal(false);
export const time = signal(0);
export const duration = signal(0);
export const speed = signal(1);
export const waveform = signal<Waveform | null>(null);
export const trouble = signal("");
/** Where a citation or a hit ends; playing goes on, the page only shows it. */
export const span = signal<{ start_s: number; end_s: number } | null>(null);
export const length = computed(() => waveform.value?.duration_s || duration.value);
export const SPEEDS = [0.75, 1, 1.25, 1.5, 2];

const audio = new Audio();
audio.preload = "metadata";
let objectUrl = "";
let wanted: number | null = null;

audio.addEventListener("play", () => {
  playing.value = true;
  tick();
});
audio.addEventListener("pause", () => (playing.value = false));
audio.addEventListener("ended", () => (playing.value = false));
audio.addEventListener("seeked", () => (time.value = audio.currentTime));
audio.addEventListener("loadedmetadata", () => {
  if (Number.isFinite(audio.duration)) duration.value = audio.duration;
  if (wanted !== null) audio.currentTime = wanted;
  wanted = null;
  audio.playbackRate = speed.value;
});
audio.addEventListener("error", () => {
  if (audio.getAttribute("src")) trouble.value = text.player.broken;
});

function tick(): void {
  if (!playing.value) return;
  if (wanted === null) time.value = audio.currentTime;
  requestAnimationFrame(tick);
}

/** Make a recording the one that plays; nothing happens where it is already. */
export async function load(next: Track): Promise<void> {
  if (track.value?.jobId === next.jobId) return;
  audio.pause();
  track.value = next;
  time.value = 0;
  duration.value = 0;
  waveform.value = null;
  span.value = null;
  trouble.value = "";
  wanted = null;
  const path = `/v1/jobs/${next.jobId}`;
  get<Waveform>(`${path}/waveform`).then(
    (found) => track.value?.jobId === next.jobId && (waveform.value = found),
    () => undefined, // a player without a picture still plays
  );
  if (objectUrl) URL.revokeObjectURL(objectUrl);
  objectUrl = "";
  if ("authorization" in authorization()) {
    // An element sends no key: the recording is fetched with it.
    const blob = await (await send(`${path}/audio`, { headers: { accept: "*/*" } })).blob();
    objectUrl = URL.createObjectURL(blob);
    audio.src = objectUrl;
  } else audio.src = `${path}/audio`;
}

export async function playAt(next: Track, start_s: number, end_s?: number): Promise<void> {
  const loading = load(next);
  span.value = end_s === undefined ? null : { start_s, end_s };
  seek(start_s);
  await loading;
  await audio.play().catch(() => undefined); // "error" has told already
}

export function seek(to: number): void {
  const at = Math.max(0, length.value ? Math.min(to, length.value) : to);
  time.value = at;
  if (audio.readyState > 0) audio.currentTime = at;
  else wanted = at;
}

export const skip = (seconds: number): void => seek(time.value + seconds);

export function toggle(): void {
  if (track.value === null) return;
  if (audio.paused) audio.play().catch(() => undefined);
  else audio.pause();
}

export function setSpeed(next: number): void {
  speed.value = next;
  audio.playbackRate = next;
}

export function changeSpeed(steps: number): void {
  const at = SPEEDS.indexOf(speed.value) + steps;
  setSpeed(SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, at))] ?? 1);
}

export function close(): void {
  audio.pause();
  audio.removeAttribute("src");
  audio.load();
  track.value = null;
}
