/** The microphone through a Realtime session: captions while somebody speaks. */
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { sendJson } from "./api";
import { Icon, Notice, words } from "./parts";
import { text } from "./text";

const RATE_HZ = 24_000;
const SAY_NOTHING_ABOVE_BYTES = 1 << 20;

interface Caption {
  item: string;
  words: string;
  final: boolean;
}

const captions = signal<Caption[]>([]);

function take(event: { type: string; item_id?: string; delta?: string; transcript?: string }): void {
  if (!event.item_id) return;
  const known = captions.value.find((one) => one.item === event.item_id);
  const before = known ?? { item: event.item_id, words: "", final: false };
  let next: Caption | null = null;
  if (event.type.endsWith("input_audio_transcription.delta")) next = { ...before, words: before.words + (event.delta ?? "") };
  else if (event.type.endsWith("input_audio_transcription.completed")) next = { ...before, words: event.transcript ?? before.words, final: true };
  if (next) captions.value = known ? captions.value.map((one) => (one === known ? next : one)) : [...captions.value, next];
}

/** Start hearing; returns what ends it. */
async function listen(language: string, onEnd: (why: string) => void): Promise<() => void> {
  const transcription = language ? { language } : {};
  const session = { type: "transcription", audio: { input: { format: { type: "audio/pcm", rate: RATE_HZ }, transcription } } };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true } });
  const sound = new AudioContext({ sampleRate: RATE_HZ });
  const release = () => {
    for (const track of stream.getTracks()) track.stop();
    void sound.close().catch(() => undefined);
  };
  try {
    const secret: string = (await (await sendJson("POST", "/v1/realtime/client_secrets", { session })).json()).value;
    await sound.audioWorklet.addModule("/web/microphone.js");
    const address = new URL("/v1/realtime?intent=transcription", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, ["realtime", `openai-insecure-api-key.${secret}`]);
    const microphone = new AudioWorkletNode(sound, "microphone");
    microphone.port.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
      // What a slow connection cannot take is lost here, not piled up.
      if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > SAY_NOTHING_ABOVE_BYTES) return;
      const audio = btoa(String.fromCharCode(...new Uint8Array(data)));
      socket.send(JSON.stringify({ type: "input_audio_buffer.append", audio }));
    };
    sound.createMediaStreamSource(stream).connect(microphone);
    let asked = false;
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "error") onEnd(event.error.message);
      else take(event);
    };
    socket.onclose = () => {
      release();
      onEnd(asked ? "" : text.live.ended);
    };
    return () => {
      asked = true;
      release();
      socket.close();
    };
  } catch (error) {
    release();
    throw error;
  }
}

export function Live() {
  const [end, setEnd] = useState<(() => void) | null>(null);
  const [language, setLanguage] = useState("");
  const [large, setLarge] = useState(false);
  const [trouble, setTrouble] = useState("");
  const last = useRef<HTMLDivElement>(null);
  useEffect(() => last.current?.scrollIntoView({ block: "nearest" }), [captions.value]);
  useEffect(() => () => end?.(), [end]);
  const start = async () => {
    setTrouble("");
    try {
      const stop = await listen(language, (why) => {
        setEnd(null);
        setTrouble(why);
      });
      setEnd(() => stop);
    } catch (error) {
      setTrouble(error instanceof DOMException ? text.library.microphoneRefused : words(error));
    }
  };
  return (
    <div class="view">
      <header class="view-head">
        <h1>{text.live.title}</h1>
        <p>{text.live.lead}</p>
      </header>
      <div class="filters">
        {end ? (
          <button type="button" class="recording" onClick={end}>
            <Icon name="stop" /> {text.live.stop}
          </button>
        ) : (
          <button type="button" class="primary" onClick={() => void start()}>
            <Icon name="live" /> {text.live.start}
          </button>
        )}
        <label class="field">
          {text.live.language}
          <select value={language} disabled={end !== null} onChange={(event) => setLanguage(event.currentTarget.value)}>
            <option value="">{text.library.detect}</option>
            {Object.entries(text.library.languages).map(([code, name]) => (
              <option key={code} value={code}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <button type="button" aria-pressed={large} onClick={() => setLarge(!large)}>
          {large ? text.live.small : text.live.large}
        </button>
      </div>
      {trouble && <Notice kind="error">{trouble}</Notice>}
      <section class={large ? "captions large" : "captions"} aria-label={text.live.captions} aria-live="polite">
        {captions.value.length === 0 && <p class="muted">{end ? text.live.listening : text.live.nothing}</p>}
        {captions.value.map((caption) => (
          <p key={caption.item} class={caption.final ? "" : "partial"} dir="auto">
            {caption.words}
          </p>
        ))}
        <div ref={last} />
      </section>
    </div>
  );
}
