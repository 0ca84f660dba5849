/** The library: recordings go in, and stand here with what is becoming of them. */
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Collection, collections, followJob, get, type Job, locked, offered, send, sendJson, submitForm, type Template } from "./api";
import { ago, bytes, clock, direction, Empty, Icon, Notice, say, words } from "./parts";
import { text } from "./text";

const UNDO_S = 10;
const POLL_MS = 4000;
/** A browser opens six connections to a server: two streams leave room for everything else. */
const FOLLOWED = 2;
const UPLOADS = 2;
const ACTIVE: ReadonlySet<string> = new Set(["queued", "running"]);

interface Upload {
  id: number;
  name: string;
  share: number;
  started: boolean;
  error: string;
  abort: AbortController;
}

interface Options {
  speakers: boolean;
  searchable: boolean;
  summary: boolean;
  entities: boolean;
  quality: boolean;
  collection: string;
  template: string;
  language: string;
}

// They outlive the view: an upload goes on while somebody reads a transcript.
const uploads = signal<Upload[]>([]);
const jobs = signal<Job[]>([]);
const cursor = signal<string | null>(null);
const loaded = signal(false);
const trouble = signal("");
const heard = signal<Record<string, string>>({});
const leaving = signal<ReadonlySet<string>>(new Set());
const filters = signal({ name: "", status: "", collection: "" });
const pendingErasures = new Map<string, number>();
const waiting: (() => Promise<void>)[] = [];
let uploadCount = 0;
let running = 0;

const DEFAULTS: Options = { speakers: true, searchable: true, summary: true, entities: false, quality: false, collection: "recordings", template: "", language: "" };

function query(): string {
  const asked = new URLSearchParams({ limit: "50" });
  if (filters.value.status) asked.set("status", filters.value.status);
  if (filters.value.collection) asked.set("collection", filters.value.collection);
  return asked.toString();
}

async function refresh(): Promise<void> {
  const asked = query();
  try {
    const page = await get<{ data: Job[]; next_cursor: string | null }>(`/v1/jobs?${asked}`);
    if (asked !== query()) return;
    const first = new Set(page.data.map((job) => job.id));
    const oldest = page.data.at(-1)?.created_at ?? "";
    // Older pages that were asked for stay below the first one.
    const older = page.next_cursor ? jobs.value.filter((job) => !first.has(job.id) && job.created_at < oldest) : [];
    jobs.value = [...page.data, ...older];
    if (older.length === 0) cursor.value = page.next_cursor;
    trouble.value = "";
  } catch (error) {
    trouble.value = words(error);
  }
  loaded.value = true;
}

async function showMore(): Promise<void> {
  const page = await get<{ data: Job[]; next_cursor: string | null }>(`/v1/jobs?${query()}&cursor=${encodeURIComponent(cursor.value ?? "")}`);
  jobs.value = [...jobs.value, ...page.data];
  cursor.value = page.next_cursor;
}

const patchJob = (id: string, change: Partial<Job>) => {
  jobs.value = jobs.value.map((job) => (job.id === id ? { ...job, ...change } : job));
};

function features(options: Options): Record<string, string> {
  const wanted = ["raw_transcript", "word_timestamps"];
  if (options.speakers) wanted.push("diarization");
  if (options.searchable && options.collection) wanted.push("index");
  if (options.summary && options.template) wanted.push("summary");
  if (options.entities) wanted.push("entities");
  if (options.quality) wanted.push("quality");
  const fields: Record<string, string> = { features: wanted.join(",") };
  if (wanted.includes("index")) fields.collection = options.collection;
  if (wanted.includes("summary")) fields.template_id = options.template;
  if (options.language) fields.language = options.language;
  return fields;
}

function submit(files: readonly (File | { name: string; blob: Blob })[], options: Options): void {
  for (const file of files) {
    const upload: Upload = { id: ++uploadCount, name: file.name, share: 0, started: false, error: "", abort: new AbortController() };
    uploads.value = [...uploads.value, upload];
    waiting.push(() => sendUpload(upload, file, options));
  }
  pump();
}

function pump(): void {
  while (running < UPLOADS && waiting.length) {
    running++;
    void waiting.shift()!().finally(() => {
      running--;
      pump();
    });
  }
}

async function sendUpload(upload: Upload, file: File | { name: string; blob: Blob }, options: Options): Promise<void> {
  const change = (changes: Partial<Upload>) => {
    uploads.value = uploads.value.map((one) => (one.id === upload.id ? { ...one, ...changes } : one));
  };
  const remove = () => {
    uploads.value = uploads.value.filter((one) => one.id !== upload.id);
  };
  if (upload.abort.signal.aborted) return remove();
  change({ started: true });
  const form = new FormData();
  for (const [name, value] of Object.entries(features(options))) form.append(name, value);
  if (file instanceof File) form.append("file", file);
  else form.append("file", file.blob, file.name);
  try {
    const job = await submitForm(form, (share) => change({ share }), upload.abort.signal);
    jobs.value = [job, ...jobs.value.filter((one) => one.id !== job.id)];
    remove();
  } catch (error) {
    if (upload.abort.signal.aborted) remove();
    else change({ error: words(error) });
  }
}

/** Nothing is erased before the time to undo has passed: the page waits, and then asks. */
function erase(job: Job): void {
  const name = job.recording?.filename ?? job.id;
  leaving.value = new Set([...leaving.value, job.id]);
  const stay = () => {
    leaving.value = new Set([...leaving.value].filter((id) => id !== job.id));
  };
  const timer = window.setTimeout(async () => {
    pendingErasures.delete(job.id);
    try {
      await send(`/v1/jobs/${job.id}?erase=true`, { method: "DELETE" });
      jobs.value = jobs.value.filter((one) => one.id !== job.id);
    } catch (error) {
      say(words(error));
    }
    stay();
  }, UNDO_S * 1000);
  pendingErasures.set(job.id, timer);
  const undo = () => {
    clearTimeout(pendingErasures.get(job.id));
    pendingErasures.delete(job.id);
    stay();
  };
  say(text.library.erased(name), { label: text.library.undo, run: undo }, UNDO_S);
}

async function act(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    say(words(error));
  }
  await refresh();
}

function useFollowing(): void {
  const followed = jobs.value.filter((job) => ACTIVE.has(job.status)).slice(0, FOLLOWED);
  const ids = followed.map((job) => job.id).join(" ");
  useEffect(() => {
    const abort = new AbortController();
    for (const id of ids.split(" ").filter(Boolean))
      void followJob(
        id,
        (event) => {
          if (event.type === "window" && event.data.text) heard.value = { ...heard.value, [id]: event.data.text };
          else if (event.type === "stage") patchJob(id, { status: "running", stage: event.data.stage, progress: event.data.progress });
          else if (event.type === "started") patchJob(id, { status: "running", started_at: event.data.at ?? new Date().toISOString() });
          else if (event.type !== "window" && event.type !== "queued") void refresh();
        },
        abort.signal,
      );
    return () => abort.abort();
  }, [ids]);
}

function useRefreshing(): void {
  useEffect(() => {
    void refresh();
    const timer = setInterval(() => {
      if (document.visibilityState === "visible" && !locked.value && (jobs.value.some((job) => ACTIVE.has(job.status)) || trouble.value)) void refresh();
    }, POLL_MS);
    return () => clearInterval(timer);
  }, [filters.value.status, filters.value.collection, locked.value]);
}

function kept(): Options {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem("rayscribe-options") ?? "{}") };
  } catch {
    return DEFAULTS;
  }
}

export function Library() {
  const [options, setOptions] = useState(kept);
  const [templates, setTemplates] = useState<Template[]>([]);
  const [known, setKnown] = useState<Collection[]>([]);
  useRefreshing();
  useFollowing();
  useEffect(() => {
    if (locked.value) return;
    get<{ data: Template[] }>("/v1/templates").then(
      ({ data }) => {
        const summaries = data.filter((template) => template.feature === "summary");
        setTemplates(summaries);
        setOptions((before) => ({ ...before, template: summaries.some((one) => one.id === before.template) ? before.template : (summaries[0]?.id ?? "") }));
      },
      () => undefined,
    );
    collections().then(setKnown, () => undefined);
  }, [locked.value]);
  const change = (changes: Partial<Options>) => {
    const next = { ...options, ...changes };
    setOptions(next);
    localStorage.setItem("rayscribe-options", JSON.stringify(next));
  };
  return (
    <div class="view">
      <header class="view-head">
        <h1>{text.library.title}</h1>
        <p>{text.library.lead}</p>
      </header>
      <Intake options={options} change={change} templates={templates} known={known} />
      <Uploads />
      <Jobs known={known} />
    </div>
  );
}

function Intake({ options, change, templates, known }: { options: Options; change: (changes: Partial<Options>) => void; templates: Template[]; known: Collection[] }) {
  const [over, setOver] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const take = (files: FileList | null) => files?.length && submit([...files], options);
  const check = (name: "speakers" | "searchable" | "summary" | "entities" | "quality") => (
    <label class="check">
      <input type="checkbox" checked={options[name]} onChange={(event) => change({ [name]: event.currentTarget.checked })} />
      {text.library[name]}
    </label>
  );
  return (
    <section
      class={over ? "intake over" : "intake"}
      aria-label={text.library.drop}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        take(event.dataTransfer?.files ?? null);
      }}
    >
      <div class="drop">
        <span class="drop-icon">
          <Icon name="upload" />
        </span>
        <div>
          <strong>{text.library.drop}</strong>
          <span>{text.library.dropMany}</span>
        </div>
        <div class="drop-ways">
          <button type="button" class="primary" onClick={() => input.current!.click()}>
            {text.library.choose}
          </button>
          <Recorder onDone={(blob, name) => submit([{ blob, name }], options)} />
        </div>
        <input
          ref={input}
          class="hidden"
          type="file"
          multiple
          accept="audio/*,video/*,.amr,.opus,.wma,.mkv"
          tabIndex={-1}
          aria-label={text.library.choose}
          onChange={(event) => {
            take(event.currentTarget.files);
            event.currentTarget.value = "";
          }}
        />
      </div>
      <ByUrl options={options} />
      <fieldset class="options">
        <legend>{text.library.options}</legend>
        {check("speakers")}
        {check("searchable")}
        {options.searchable && (
          <label class="field">
            {text.library.collection}
            <input type="text" list="collections" value={options.collection} pattern="[A-Za-z0-9][A-Za-z0-9._\-]{0,63}" onChange={(event) => change({ collection: event.currentTarget.value.trim() })} />
            <datalist id="collections">
              {known.map((collection) => (
                <option key={collection.name} value={collection.name} />
              ))}
            </datalist>
          </label>
        )}
        {templates.length > 0 && check("summary")}
        {templates.length > 0 && options.summary && (
          <label class="field">
            {text.library.template}
            <select value={options.template} onChange={(event) => change({ template: event.currentTarget.value })}>
              {templates.map((template) => (
                <option key={template.id} value={template.id}>
                  {template.title}
                </option>
              ))}
            </select>
          </label>
        )}
        {check("entities")}
        {check("quality")}
        <label class="field">
          {text.library.language}
          <select value={options.language} onChange={(event) => change({ language: event.currentTarget.value })}>
            <option value="">{text.library.detect}</option>
            {Object.entries(text.library.languages).map(([code, name]) => (
              <option key={code} value={code}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </fieldset>
    </section>
  );
}

/** Submitting by address, where the document says that this deployment fetches. */
function ByUrl({ options }: { options: Options }) {
  const [url, setUrl] = useState("");
  const [trouble, setTrouble] = useState("");
  if (!fetchesUrls()) return null;
  const add = async (event: Event) => {
    event.preventDefault();
    setTrouble("");
    const { features: wanted, ...fields } = features(options);
    try {
      await sendJson("POST", "/v1/jobs", { url, features: wanted!.split(","), ...fields });
      setUrl("");
      await refresh();
    } catch (error) {
      setTrouble(words(error));
    }
  };
  return (
    <form class="by-url" onSubmit={add}>
      <label class="hidden" for="url">
        {text.library.urlLabel}
      </label>
      <input id="url" type="url" required placeholder="https://…" value={url} onInput={(event) => setUrl(event.currentTarget.value)} />
      <button type="submit">{text.library.urlAdd}</button>
      {trouble && <Notice kind="error">{trouble}</Notice>}
    </form>
  );
}

function fetchesUrls(): boolean {
  const submitting = offered.value["/v1/jobs"]?.post as { requestBody?: { content?: Record<string, unknown> } } | undefined;
  return "application/json" in (submitting?.requestBody?.content ?? {});
}

function Recorder({ onDone }: { onDone: (blob: Blob, name: string) => void }) {
  const [recorder, setRecorder] = useState<MediaRecorder | null>(null);
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    if (recorder === null) return;
    const timer = setInterval(() => setSeconds((before) => before + 1), 1000);
    return () => clearInterval(timer);
  }, [recorder]);
  if (!navigator.mediaDevices || typeof MediaRecorder === "undefined") return null;
  const start = async () => {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const made = new MediaRecorder(stream);
      const parts: Blob[] = [];
      made.ondataavailable = (event) => parts.push(event.data);
      made.onstop = () => {
        for (const track of stream.getTracks()) track.stop();
        const moment = new Date().toISOString().slice(0, 16).replace("T", " ").replace(":", ".");
        const extension = made.mimeType.includes("mp4") ? "m4a" : "webm";
        onDone(new Blob(parts, { type: made.mimeType }), `${text.library.recording} ${moment}.${extension}`);
        setRecorder(null);
      };
      made.start(1000);
      setSeconds(0);
      setRecorder(made);
    } catch {
      say(text.library.microphoneRefused);
    }
  };
  return recorder === null ? (
    <button type="button" onClick={start}>
      <Icon name="live" /> {text.library.record}
    </button>
  ) : (
    <button type="button" class="recording" onClick={() => recorder.stop()}>
      <Icon name="stop" /> {text.library.stopRecording} {clock(seconds)}
    </button>
  );
}

function Uploads() {
  if (uploads.value.length === 0) return null;
  return (
    <ul class="jobs">
      {uploads.value.map((upload) => (
        <li class="job" key={upload.id}>
          <div class="job-main">
            <span class="job-name">{upload.name}</span>
            <span class="job-meta">{upload.error || (upload.started ? text.library.uploading : text.library.waitingToUpload)}</span>
            {!upload.error && <Bar share={upload.share} label={`${text.library.uploading} ${upload.name}`} />}
          </div>
          <div class="job-actions">
            <button
              type="button"
              onClick={() => {
                upload.abort.abort();
                if (upload.error || !upload.started) uploads.value = uploads.value.filter((one) => one.id !== upload.id);
              }}
            >
              {upload.error ? text.library.dismiss : text.library.cancel}
            </button>
          </div>
        </li>
      ))}
    </ul>
  );
}

export function Bar({ share, label }: { share: number; label: string }) {
  return (
    <div class="bar" role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(share * 100)}>
      <div style={{ width: `${Math.max(1, share * 100)}%` }} />
    </div>
  );
}

function Jobs({ known }: { known: Collection[] }) {
  const { name, status, collection } = filters.value;
  const set = (changes: Partial<typeof filters.value>) => {
    filters.value = { ...filters.value, ...changes };
  };
  const filtered = Boolean(name || status || collection);
  const shown = jobs.value.filter(
    (job) => job.kind === "recording" && !leaving.value.has(job.id) && (job.recording?.filename ?? "").toLowerCase().includes(name.toLowerCase()) && (!status || job.status === status),
  );
  return (
    <section aria-label={text.library.title}>
      <div class="filters" role="search">
        <label class="find">
          <span class="hidden">{text.library.find}</span>
          <Icon name="search" />
          <input type="search" placeholder={text.library.find} value={name} onInput={(event) => set({ name: event.currentTarget.value })} />
        </label>
        <div class="segmented" role="group" aria-label={text.library.status}>
          {["", "running", "succeeded", "failed"].map((one) => (
            <button type="button" key={one} aria-pressed={status === one} onClick={() => set({ status: one })}>
              {one ? text.library.statuses[one] : text.library.all}
            </button>
          ))}
        </div>
        {known.length > 0 && (
          <label>
            <span class="hidden">{text.library.collection}</span>
            <select value={collection} onChange={(event) => set({ collection: event.currentTarget.value })}>
              <option value="">{text.library.allCollections}</option>
              {known.map((one) => (
                <option key={one.name} value={one.name}>
                  {one.name}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
      {trouble.value && <Notice kind="error">{trouble.value}</Notice>}
      {shown.length > 0 && (
        <ul class="jobs">
          {shown.map((job) => (
            <JobRow key={job.id} job={job} />
          ))}
        </ul>
      )}
      {loaded.value && !trouble.value && shown.length === 0 && uploads.value.length === 0 && (
        filtered ? (
          <Empty title={text.library.noMatch} lead="">
            <button type="button" onClick={() => set({ name: "", status: "", collection: "" })}>
              {text.library.clear}
            </button>
          </Empty>
        ) : (
          <Empty title={text.library.empty} lead={text.library.emptyLead} />
        )
      )}
      {cursor.value && (
        <button type="button" class="more" onClick={() => void act(showMore())}>
          {text.library.more}
        </button>
      )}
    </section>
  );
}

function timeLeft(job: Job): string {
  const elapsed = job.started_at ? (Date.now() - Date.parse(job.started_at)) / 1000 : 0;
  if (elapsed < 3 || job.progress < 0.05 || job.progress >= 1) return "";
  return text.library.left(clock((elapsed / job.progress) * (1 - job.progress)));
}

function JobRow({ job }: { job: Job }) {
  const name = job.recording?.filename ?? job.id;
  const active = ACTIVE.has(job.status);
  const open = job.status !== "queued";
  const meta = [ago(job.created_at), job.recording?.duration_s ? clock(job.recording.duration_s) : "", bytes(job.recording?.bytes ?? 0), job.collection ?? ""].filter(Boolean);
  return (
    <li class="job">
      <span class={`state ${job.status}`} aria-hidden="true">
        {job.status === "succeeded" ? <Icon name="check" /> : job.status === "failed" ? <Icon name="warning" /> : null}
      </span>
      <div class="job-main">
        {open ? (
          <a class="job-name" href={`#/jobs/${job.id}`}>
            {name}
          </a>
        ) : (
          <span class="job-name">{name}</span>
        )}
        <span class="job-meta">
          <span class="hidden">{text.library.statuses[job.status]}. </span>
          {meta.join(" · ")}
        </span>
        {job.status === "failed" && <span class="job-error">{job.error?.message}</span>}
        {active && (
          <>
            <Bar share={job.progress} label={`${text.library.statuses[job.status]}: ${name}`} />
            <span class="job-stage">
              <span>{job.status === "queued" ? text.library.queued(job.queue_position ?? 1) : (text.library.stages[job.stage ?? ""] ?? text.library.statuses[job.status])}</span>
              <span>{timeLeft(job)}</span>
            </span>
            {heard.value[job.id] && (
              <p class="heard" aria-live="off" dir={direction(job.language)}>
                {heard.value[job.id]}
              </p>
            )}
          </>
        )}
      </div>
      <div class="job-actions">
        {job.status === "failed" && (
          <button type="button" onClick={() => void act(send(`/v1/jobs/${job.id}/retry`, { method: "POST" }))}>
            {text.library.retry}
          </button>
        )}
        {active && (
          <button type="button" onClick={() => void act(send(`/v1/jobs/${job.id}`, { method: "DELETE" }))}>
            {text.library.cancel}
          </button>
        )}
        {!active && (
          <button type="button" class="quiet" aria-label={`${text.library.erase} ${name}`} onClick={() => erase(job)}>
            {text.library.erase}
          </button>
        )}
      </div>
    </li>
  );
}
