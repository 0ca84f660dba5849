/** The typed client: shapes come from the OpenAPI document, and so does what this deployment offers. */
import { signal } from "@preact/signals";
import type { components } from "./openapi";
import { text } from "./text";

type Schemas = components["schemas"];
export type Job = Schemas["JobBody"];
export type Transcript = Schemas["TranscriptBody"];
export type Segment = Schemas["SegmentBody"];
export type SpeakerList = Schemas["SpeakerList"];
export type Coverage = Schemas["CoverageBody"];
export type Waveform = Schemas["WaveformBody"];
export type Collection = Schemas["CollectionBody"];
export type Hit = Schemas["HitBody"];
export type Citation = Schemas["CitationBody"];
export type Health = Schemas["DetailedHealth"];
export type Template = Schemas["TemplateBody"];

/** An answer that is no success, in the server's words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const KEY_PLACE = "rayscribe-key";
const SESSION_PLACE = "rayscribe-session";
let key = sessionStorage.getItem(KEY_PLACE);
export const locked = signal(false);
/** Whether a key was given, so that there is something to sign out of. */
export const signedIn = signal(key !== null || sessionStorage.getItem(SESSION_PLACE) !== null);
/** Paths of the OpenAPI document with their methods: what this deployment offers. */
export const offered = signal<Record<string, Record<string, unknown>>>({});

export const supports = (path: string, method = "get"): boolean => method in (offered.value[path] ?? {});

export async function learnWhatIsOffered(): Promise<void> {
  const response = await fetch("/openapi.json");
  if (response.ok) offered.value = (await response.json()).paths;
}

export function authorization(): Record<string, string> {
  return key === null ? {} : { authorization: `Bearer ${key}` };
}

/** Keep a key for this tab, if the server knows it; where there are sessions, exchange it for one at once. */
export async function signIn(entered: string): Promise<boolean> {
  if (!Object.keys(offered.value).length) await learnWhatIsOffered();
  const bearer = { authorization: `Bearer ${entered}` };
  const session = supports("/v1/session", "post");
  const response = session
    ? await fetch("/v1/session", { method: "POST", headers: bearer })
    : await fetch("/v1/jobs?limit=1", { headers: bearer });
  if (response.status === 401) return false;
  if (session) sessionStorage.setItem(SESSION_PLACE, "cookie");
  else {
    key = entered;
    sessionStorage.setItem(KEY_PLACE, entered);
  }
  signedIn.value = true;
  locked.value = false;
  return true;
}

export async function signOut(): Promise<void> {
  if (supports("/v1/session", "delete")) await fetch("/v1/session", { method: "DELETE" });
  key = null;
  sessionStorage.removeItem(KEY_PLACE);
  sessionStorage.removeItem(SESSION_PLACE);
  location.reload();
}

async function failure(response: Response): Promise<ApiError> {
  if (response.status === 401) locked.value = true;
  const body = await response.json().catch(() => null);
  const error = body?.error ?? {};
  return new ApiError(response.status, error.code ?? "unknown", error.message ?? `${text.failed} (${response.status})`);
}

export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers: { accept: "application/json", ...authorization(), ...init.headers } });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", text.unreachable);
  }
  if (!response.ok) throw await failure(response);
  return response;
}

export async function get<Body>(path: string, signal?: AbortSignal): Promise<Body> {
  return (await send(path, { signal })).json();
}

export function sendJson(method: string, path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return send(path, { method, body: JSON.stringify(body), headers: { "content-type": "application/json", ...headers } });
}

export interface ServerEvent {
  id: string;
  type: string;
  /** Each kind of event has a shape of its own. */
  data: any;
}

/** Yield the events of a stream as they come (WHATWG HTML, 9.2.6); fetch, because EventSource sends no key. */
export async function* eventsOf(response: Response): AsyncGenerator<ServerEvent> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += value.replaceAll("\r\n", "\n");
      for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
        const event = parseEvent(rest.slice(0, end));
        rest = rest.slice(end + 2);
        if (event) yield event;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function parseEvent(block: string): ServerEvent | null {
  const fields = { id: "", event: "message", data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") fields.data += (fields.data ? "\n" : "") + value;
    else if (name === "id" || name === "event") fields[name] = value;
  }
  return fields.data ? { id: fields.id, type: fields.event, data: JSON.parse(fields.data) } : null;
}

/** Follow a job from its first event to its last, resuming where a connection was cut. */
export async function followJob(id: string, onEvent: (event: ServerEvent) => void, signal: AbortSignal): Promise<void> {
  let last = "";
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = { accept: "text/event-stream" };
      if (last) headers["last-event-id"] = last;
      const response = await send(`/v1/jobs/${id}/events`, { headers, signal });
      if (response.status === 204) return;
      for await (const event of eventsOf(response)) {
        last = event.id;
        onEvent(event);
        if (["succeeded", "failed", "cancelled"].includes(event.type)) return;
      }
    } catch (error) {
      if (signal.aborted || (error instanceof ApiError && error.status >= 400 && error.status < 500)) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/** Submit a form with its upload's progress, which fetch does not tell. */
export function submitForm(form: FormData, onProgress: (share: number) => void, signal: AbortSignal): Promise<Job> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/jobs");
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      const body = (() => {
        try {
          return JSON.parse(request.responseText);
        } catch {
          return null;
        }
      })();
      if (request.status === 202) return resolve(body);
      if (request.status === 401) locked.value = true;
      reject(new ApiError(request.status, body?.error?.code ?? "unknown", body?.error?.message ?? text.failed));
    };
    request.onerror = () => reject(new ApiError(0, "unreachable", text.unreachable));
    request.onabort = () => reject(new DOMException("", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

export async function collections(): Promise<Collection[]> {
  return (await get<{ data: Collection[] }>("/v1/collections")).data;
}

/** Hand a file to the browser: with a key, it is fetched first, because a link sends none. */
export async function download(path: string, name: string): Promise<void> {
  const blob = await (await send(path, { headers: { accept: "*/*" } })).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
