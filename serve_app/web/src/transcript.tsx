/** A transcript: who said what, to be heard, found, corrected and taken along. */
import { signal } from "@preact/signals";
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core";
import { useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
import { ApiError, type Coverage, download, followJob, get, type Job, type Segment, send, sendJson, supports, type Transcript } from "./api";
import { Bar } from "./library";
import { clock, colour, direction, Empty, Icon, Moment, Notice, say, useLoaded, WaveformBar, words } from "./parts";
import * as player from "./player";
import { text } from "./text";

interface Read {
  job: Job;
  transcript: Transcript | null;
  etag: string;
}

/** Moves of the keyboard that only an open transcript understands. */
export const moves = signal<{ nextSpeaker: (step: 1 | -1) => void; find: () => void } | null>(null);

async function read(id: string): Promise<Read> {
  const job = await get<Job>(`/v1/jobs/${id}`);
  try {
    const response = await send(`/v1/jobs/${id}/transcript?format=json`);
    return { job, transcript: await response.json(), etag: response.headers.get("etag") ?? "" };
  } catch (error) {
    if (error instanceof ApiError && error.status === 409) return { job, transcript: null, etag: "" };
    throw error;
  }
}

export function TranscriptView({ id, at }: { id: string; at: number | null }) {
  const { value, error, reload } = useLoaded(id, () => read(id));
  if (error) {
    const missing = error instanceof ApiError && error.status === 404;
    return (
      <div class="view">
        <Empty title={missing ? text.notFound : text.failed} lead={missing ? "" : words(error)}>
          <a class="button" href="#/">
            {text.transcript.back}
          </a>
        </Empty>
      </div>
    );
  }
  if (!value) return <p class="loading">{text.loading}</p>;
  return <Opened key={`${id} ${value.etag}`} read={value} at={at} reload={reload} />;
}

function Opened({ read: { job, transcript, etag }, at, reload }: { read: Read; at: number | null; reload: () => void }) {
  const name = job.recording?.filename ?? job.id;
  const running = job.status === "running" || job.status === "queued";
  const speakers = useMemo(() => [...new Set((transcript?.segments ?? []).map((segment) => segment.speaker).filter((one): one is string => Boolean(one)))], [transcript]);
  useEffect(() => {
    document.title = `${name} · RayScribe`;
    player.load({ jobId: job.id, name }).catch((error: unknown) => say(words(error)));
    if (at !== null) player.seek(at);
  }, [job.id, at]);
  return (
    <div class="view transcript">
      <header class="view-head">
        <a class="back" href="#/">
          <Icon name="back" /> {text.transcript.back}
        </a>
        <div class="title-row">
          <h1>{name}</h1>
          {transcript && <Downloads job={job} name={name} />}
        </div>
        <p class="job-meta">
          {[
            transcript ? clock(transcript.duration_s) : "",
            transcript ? (text.library.languages[transcript.language] ?? transcript.language) : "",
            speakers.length ? text.library.speakersIn(speakers.length) : "",
            job.collection ?? "",
            (job.revision ?? 1) > 1 ? text.transcript.corrected(job.revision ?? 1) : "",
          ]
            .filter(Boolean)
            .join(" · ")}
        </p>
      </header>
      {running && <Growing job={job} reload={reload} />}
      {job.status === "failed" && (
        <Notice kind="error">
          <strong>{text.transcript.failed}.</strong> {job.error?.message}
        </Notice>
      )}
      <Warnings job={job} name={name} />
      {transcript && (
        <>
          <Overview job={job} transcript={transcript} speakers={speakers} etag={etag} reload={reload} />
          <div class="columns">
            {transcript.segments.length ? (
              <Lines job={job} name={name} transcript={transcript} speakers={speakers} etag={etag} at={at} reload={reload} />
            ) : (
              <Empty title={text.transcript.nothingSaid} lead="" />
            )}
            <Understanding job={job} name={name} transcript={transcript} reload={reload} />
          </div>
        </>
      )}
    </div>
  );
}

function Growing({ job, reload }: { job: Job; reload: () => void }) {
  const [lines, setLines] = useState<{ start_s: number; text: string }[]>([]);
  const [state, setState] = useState({ stage: job.stage ?? "", progress: job.progress });
  useEffect(() => {
    const abort = new AbortController();
    void followJob(
      job.id,
      (event) => {
        if (event.type === "window")
          // A window may come again after a recovery: its start tells.
          setLines((before) => [...before.filter((line) => line.start_s !== event.data.start_s), { start_s: event.data.start_s, text: event.data.text }].sort((a, b) => a.start_s - b.start_s));
        else if (event.type === "stage") setState({ stage: event.data.stage, progress: event.data.progress });
        else if (["succeeded", "failed", "cancelled"].includes(event.type)) reload();
      },
      abort.signal,
    );
    return () => abort.abort();
  }, [job.id]);
  return (
    <section class="growing" aria-label={text.library.statuses.running}>
      <Bar share={state.progress} label={text.library.statuses.running!} />
      <p class="job-stage">{text.library.stages[state.stage] ?? text.library.statuses[job.status]}</p>
      {lines.length === 0 && <p class="muted">{text.transcript.notYet}</p>}
      {lines.map((line) => (
        <p key={line.start_s} class="growing-line" dir="auto">
          <span class="stamp">{clock(line.start_s)}</span> {line.text}
        </p>
      ))}
    </section>
  );
}

function Warnings({ job, name }: { job: Job; name: string }) {
  const dropped = job.metrics.dropped_spans ?? [];
  const warnings = job.warnings ?? [];
  if (!warnings.length && !job.degraded.length && !dropped.length) return null;
  return (
    <details class="warnings" open={warnings.length > 0}>
      <summary>
        <Icon name="warning" />
        {[...warnings.map((one) => one.message), ...job.degraded.map((one) => text.transcript.degraded(one.used, one.wanted)), ...(dropped.length ? [text.transcript.droppedSpans(dropped.length)] : [])][0]}
        {warnings.length + job.degraded.length + Number(dropped.length > 0) > 1 && ` (+${warnings.length + job.degraded.length + Number(dropped.length > 0) - 1})`}
      </summary>
      <ul>
        {warnings.map((warning, index) => (
          <li key={index}>
            {warning.message} {warning.start_s != null && <Moment jobId={job.id} name={name} start_s={warning.start_s} />}
          </li>
        ))}
        {job.degraded.map((one, index) => (
          <li key={`degraded ${index}`}>
            {text.library.stages[one.stage] ?? one.stage}: {text.transcript.degraded(one.used, one.wanted)} ({one.reason})
          </li>
        ))}
        {dropped.length > 0 && (
          <li>
            {text.transcript.droppedSpans(dropped.length)}:{" "}
            {dropped.slice(0, 20).map((span) => (
              <Moment key={span.start_s} jobId={job.id} name={name} start_s={span.start_s} end_s={span.end_s} />
            ))}
          </li>
        )}
      </ul>
    </details>
  );
}

function Downloads({ job, name }: { job: Job; name: string }) {
  const menu = useRef<HTMLDetailsElement>(null);
  const base = name.replace(/\.[^.]+$/, "");
  const take = (path: string, file: string) => {
    menu.current!.open = false;
    download(path, file).catch((error: unknown) => say(words(error)));
  };
  return (
    <details class="menu" ref={menu}>
      <summary class="button">
        <Icon name="download" /> {text.transcript.download}
      </summary>
      <div class="menu-items">
        {Object.entries(text.transcript.downloads).map(([format, label]) => (
          <button key={format} type="button" onClick={() => take(`/v1/jobs/${job.id}/transcript?format=${format}`, `${base}.${{ text: "txt", seglst: "seglst.json" }[format] ?? format}`)}>
            {label}
          </button>
        ))}
        <button type="button" onClick={() => take(`/v1/jobs/${job.id}/audio`, name)}>
          {text.transcript.original}
        </button>
      </div>
    </details>
  );
}

function Overview({ job, transcript, speakers, etag, reload }: { job: Job; transcript: Transcript; speakers: string[]; etag: string; reload: () => void }) {
  const keepsCoverage = supports("/v1/jobs/{job_id}/coverage");
  const coverage = useLoaded(`${job.id} ${keepsCoverage}`, async () => (keepsCoverage ? get<Coverage>(`/v1/jobs/${job.id}/coverage`) : null)).value;
  const length = transcript.duration_s || 1;
  const talk = useMemo(() => {
    const found = new Map<string, { seconds: number; spans: [number, number][] }>();
    for (const segment of transcript.segments) {
      if (!segment.speaker) continue;
      const lane = found.get(segment.speaker) ?? { seconds: 0, spans: [] };
      lane.seconds += segment.end_s - segment.start_s;
      const last = lane.spans.at(-1);
      // Spans that a pixel could not part are one: ten hours have thousands.
      if (last && segment.start_s - last[1] < length / 1000) last[1] = segment.end_s;
      else lane.spans.push([segment.start_s, segment.end_s]);
      found.set(segment.speaker, lane);
    }
    return found;
  }, [transcript]);
  const all = [...talk.values()].reduce((sum, lane) => sum + lane.seconds, 0) || 1;
  return (
    <section class="overview" aria-label={text.transcript.lanes}>
      <div class="lane-grid">
        <span class="lane-head" />
        <WaveformBar height={64} />
      </div>
      {coverage && (
        <div class="lane-grid">
          <span class="lane-head muted">{text.transcript.coverage}</span>
          <svg class="lane coverage" viewBox="0 0 1000 6" preserveAspectRatio="none" role="img" aria-label={text.transcript.coverage}>
            {coverage.spans.map((span, index) => (
              <rect key={index} class={span.kind} x={(span.start_s / length) * 1000} width={Math.max(0.5, ((span.end_s - span.start_s) / length) * 1000)} y="0" height="6">
                <title>
                  {text.transcript.coverageKinds[span.kind] ?? span.kind} {clock(span.start_s)}–{clock(span.end_s)}
                </title>
              </rect>
            ))}
          </svg>
        </div>
      )}
      {speakers.map((speaker) => {
        const lane = talk.get(speaker)!;
        return (
          <div class={`lane-grid ${colour(speakers, speaker)}`} key={speaker}>
            <span class="lane-head">
              <SpeakerName job={job} name={speaker} speakers={speakers} etag={etag} reload={reload} />
              <span class="share">
                {clock(lane.seconds)} · {Math.round((lane.seconds / all) * 100)} %
              </span>
            </span>
            <svg
              class="lane"
              viewBox="0 0 1000 10"
              preserveAspectRatio="none"
              aria-hidden="true"
              onClick={(event) => {
                const box = event.currentTarget.getBoundingClientRect();
                void player.playAt({ jobId: job.id, name: job.recording?.filename ?? job.id }, ((event.clientX - box.left) / box.width) * length);
              }}
            >
              <rect class="track" x="0" y="4" width="1000" height="2" />
              {lane.spans.map(([start, end]) => (
                <rect key={start} x={(start / length) * 1000} width={Math.max(1.5, ((end - start) / length) * 1000)} y="0" height="10" rx="1" />
              ))}
            </svg>
          </div>
        );
      })}
    </section>
  );
}

function SpeakerName({ job, name, speakers, etag, reload }: { job: Job; name: string; speakers: string[]; etag: string; reload: () => void }) {
  const [editing, setEditing] = useState(false);
  const finished = useRef(false);
  const label = text.transcript.speaker(name);
  if (!editing)
    return supports("/v1/jobs/{job_id}/speakers", "patch") && job.status === "succeeded" ? (
      <button type="button" class="speaker-name" aria-label={text.transcript.rename(label)} title={text.transcript.rename(label)} onClick={() => ((finished.current = false), setEditing(true))}>
        {label} <Icon name="pen" />
      </button>
    ) : (
      <span class="speaker-name">{label}</span>
    );
  const save = async (wanted: string) => {
    // A field that goes away loses the focus, and would save a second time.
    if (finished.current) return;
    finished.current = true;
    setEditing(false);
    if (!wanted || wanted === label || wanted === name) return;
    // A name that somebody has already: both are one person.
    const edits = speakers.includes(wanted) ? { merge: [[wanted, name]] } : { rename: { [name]: wanted } };
    await change(sendJson("PATCH", `/v1/jobs/${job.id}/speakers`, edits, { "if-match": etag }), reload);
  };
  return (
    <input
      class="speaker-input"
      aria-label={text.transcript.renameLabel}
      defaultValue={label}
      maxLength={100}
      ref={(element) => element?.focus()}
      onKeyDown={(event) => {
        if (event.key === "Enter") void save(event.currentTarget.value.trim());
        if (event.key === "Escape") {
          finished.current = true;
          setEditing(false);
        }
      }}
      onBlur={(event) => void save(event.currentTarget.value.trim())}
    />
  );
}

async function change(work: Promise<unknown>, reload: () => void): Promise<boolean> {
  try {
    await work;
    say(text.transcript.saved);
    reload();
    return true;
  } catch (error) {
    const late = error instanceof ApiError && error.status === 412;
    say(late ? text.transcript.faster : words(error));
    return false;
  }
}

/** Drafts outlive a reload of the transcript: nobody's words are lost because somebody else was faster. */
const drafts = new Map<string, string>();

/** Scroll positions too, so that a correction leaves its reader where they were. */
const places = new Map<string, number>();

function useVirtual(count: number, scroller: { current: HTMLElement | null }, initialOffset: number): Virtualizer<HTMLElement, HTMLElement> {
  const [, redraw] = useReducer((before: number) => before + 1, 0);
  const options = {
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => 84,
    overscan: 8,
    initialOffset,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    onChange: () => redraw(0),
  };
  const [virtualizer] = useState(() => new Virtualizer<HTMLElement, HTMLElement>(options));
  virtualizer.setOptions(options);
  useEffect(() => virtualizer._didMount(), []);
  useLayoutEffect(() => virtualizer._willUpdate());
  return virtualizer;
}

/** The last segment that has begun at a time; the first one before any has. */
function segmentAt(segments: readonly Segment[], time: number): number {
  let [low, high] = [0, segments.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (segments[middle]!.start_s <= time + 0.01) low = middle;
    else high = middle - 1;
  }
  return low;
}

function Lines({ job, name, transcript, speakers, etag, at, reload }: { job: Job; name: string; transcript: Transcript; speakers: string[]; etag: string; at: number | null; reload: () => void }) {
  const segments = transcript.segments;
  const scroller = useRef<HTMLDivElement>(null);
  const finder = useRef<HTMLInputElement>(null);
  const [follow, setFollow] = useState(at !== null || !places.has(job.id));
  const [query, setQuery] = useState("");
  const [hit, setHit] = useState(0);
  const [editing, setEditing] = useState<number | null>(() => segments.find((segment) => drafts.has(`${job.id} ${segment.id}`))?.id ?? null);
  const virtualizer = useVirtual(segments.length, scroller, places.get(job.id) ?? 0);
  const track = { jobId: job.id, name };
  const count = useMemo(() => segments.reduce((sum, segment) => sum + segment.text.split(" ").length, 0).toLocaleString("en"), [segments]);
  const now = player.track.value?.jobId === job.id ? player.time.value : -1;
  const current = now < 0 ? -1 : segmentAt(segments, now);
  const hits = useMemo(() => {
    const wanted = query.trim().toLowerCase();
    return wanted ? segments.flatMap((segment, index) => (segment.text.toLowerCase().includes(wanted) ? [index] : [])) : [];
  }, [query, segments]);
  useEffect(() => {
    if (follow && current >= 0 && editing === null) virtualizer.scrollToIndex(current, { align: "center", behavior: "auto" });
  }, [follow, current, editing]);
  useEffect(() => {
    const found = hits[hit];
    if (found === undefined) return;
    setFollow(false);
    virtualizer.scrollToIndex(found, { align: "center" });
  }, [hits, hit]);
  useEffect(() => {
    moves.value = {
      find: () => finder.current?.focus(),
      nextSpeaker: (step) => {
        const here = segmentAt(segments, player.time.value);
        let next = here;
        while (segments[next] && segments[next]!.speaker === segments[here]!.speaker) next += step;
        const found = segments[Math.max(0, Math.min(segments.length - 1, next))];
        if (found) player.seek(found.start_s);
        setFollow(true);
      },
    };
    return () => {
      moves.value = null;
    };
  }, [segments]);
  const play = (event: MouseEvent) => {
    const start = (event.target as HTMLElement).closest<HTMLElement>("[data-start]")?.dataset.start;
    if (start === undefined || getSelection()?.toString()) return;
    setFollow(true);
    void player.playAt(track, Number(start));
  };
  const step = (by: number) => hits.length && setHit((hit + by + hits.length) % hits.length);
  const stopFollowing = () => setFollow(false);
  return (
    <section class="lines" aria-label={name}>
      <div class="line-tools">
        <label class="find">
          <span class="hidden">{text.transcript.find}</span>
          <Icon name="search" />
          <input
            ref={finder}
            type="search"
            placeholder={text.transcript.find}
            value={query}
            onInput={(event) => {
              setQuery(event.currentTarget.value);
              setHit(0);
            }}
            onKeyDown={(event) => {
              if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
            }}
          />
        </label>
        {query.trim() && (
          <>
            <span class="muted" role="status">
              {text.transcript.found(hit + 1, hits.length)}
            </span>
            <button type="button" class="quiet" aria-label={text.transcript.previous} onClick={() => step(-1)}>
              ↑
            </button>
            <button type="button" class="quiet" aria-label={text.transcript.next} onClick={() => step(1)}>
              ↓
            </button>
          </>
        )}
        <button type="button" class="follow" aria-pressed={follow} onClick={() => setFollow(!follow)}>
          {text.transcript.follow}
        </button>
      </div>
      <div
        class="scroller"
        ref={scroller}
        tabIndex={0}
        role="region"
        aria-label={text.transcript.words(count)}
        onWheel={stopFollowing}
        onTouchMove={stopFollowing}
        onPointerDown={(event) => event.target === event.currentTarget && stopFollowing()}
        onKeyDown={(event) => ["PageUp", "PageDown", "Home", "End", "ArrowUp", "ArrowDown"].includes(event.key) && stopFollowing()}
        onScroll={(event) => places.set(job.id, event.currentTarget.scrollTop)}
        onClick={play}
      >
        <div style={{ height: `${virtualizer.getTotalSize()}px` }} class="virtual" dir={direction(transcript.language)}>
          {virtualizer.getVirtualItems().map((item) => {
            const segment = segments[item.index]!;
            const follows = item.index > 0 && segments[item.index - 1]!.speaker === segment.speaker;
            return (
              <div key={item.key} data-index={item.index} ref={(element) => virtualizer.measureElement(element)} class="slot" style={{ transform: `translateY(${item.start}px)` }}>
                <Line
                  job={job}
                  name={name}
                  segment={segment}
                  follows={follows}
                  speakers={speakers}
                  current={item.index === current}
                  now={item.index === current ? now : -1}
                  query={query.trim().toLowerCase()}
                  hit={hits[hit] === item.index}
                  editing={editing === segment.id}
                  edit={setEditing}
                  etag={etag}
                  reload={reload}
                />
              </div>
            );
          })}
        </div>
      </div>
    </section>
  );
}

interface LineProps {
  job: Job;
  name: string;
  segment: Segment;
  follows: boolean;
  speakers: string[];
  current: boolean;
  now: number;
  query: string;
  hit: boolean;
  editing: boolean;
  edit: (id: number | null) => void;
  etag: string;
  reload: () => void;
}

function Line({ job, name, segment, follows, speakers, current, now, query, hit, editing, edit, etag, reload }: LineProps) {
  const label = segment.speaker ? text.transcript.speaker(segment.speaker) : "";
  return (
    <article class={["line", colour(speakers, segment.speaker), current && "current", hit && "hit"].filter(Boolean).join(" ")}>
      <div class="line-head">
        {!follows && label && <span class="speaker">{label}</span>}
        <Moment jobId={job.id} name={name} start_s={segment.start_s} />
        {!editing && supports("/v1/jobs/{job_id}/transcript", "patch") && job.status === "succeeded" && (
          <button type="button" class="quiet pen" aria-label={`${text.transcript.edit} ${clock(segment.start_s)}`} onClick={() => edit(segment.id)}>
            <Icon name="pen" />
          </button>
        )}
      </div>
      {editing ? (
        <Editor job={job} name={name} segment={segment} speakers={speakers} etag={etag} leave={() => edit(null)} reload={reload} />
      ) : segment.words.length ? (
        <p>
          {segment.words.map((word, index) => (
            <span key={index} data-start={word.start_s} class={[now >= word.start_s && now < word.end_s && "now", query && word.text.toLowerCase().includes(query) && "found"].filter(Boolean).join(" ") || "word"}>
              {word.text.trim()}
            </span>
          )).flatMap((word) => [word, " "])}
        </p>
      ) : (
        <p data-start={segment.start_s}>{segment.text}</p>
      )}
    </article>
  );
}

function Editor({ job, name, segment, speakers, etag, leave, reload }: { job: Job; name: string; segment: Segment; speakers: string[]; etag: string; leave: () => void; reload: () => void }) {
  const place = `${job.id} ${segment.id}`;
  const [draft, setDraft] = useState(drafts.get(place) ?? segment.text);
  const [speaker, setSpeaker] = useState(segment.speaker ?? "");
  const [saving, setSaving] = useState(false);
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => box.current?.focus(), []);
  const forget = () => {
    drafts.delete(place);
    leave();
  };
  const save = async () => {
    const changes: Record<string, unknown> = { id: segment.id };
    if (draft.trim() !== segment.text) changes.text = draft.trim();
    if (speaker !== (segment.speaker ?? "")) changes.speaker = speaker;
    if (Object.keys(changes).length === 1) return forget();
    setSaving(true);
    drafts.set(place, draft);
    const saved = await change(sendJson("PATCH", `/v1/jobs/${job.id}/transcript`, { segments: [changes] }, { "if-match": etag }), () => {
      drafts.delete(place);
      leave();
      reload();
    });
    setSaving(false);
    if (!saved) reload(); // the next try is made from what stands there now
  };
  return (
    <div class="editor">
      <textarea
        ref={box}
        aria-label={text.transcript.editLabel}
        rows={Math.max(2, Math.ceil(draft.length / 70))}
        dir="auto"
        value={draft}
        onInput={(event) => setDraft(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void save();
          else if (event.key === "Escape") forget();
          else if (event.key === " " && event.shiftKey) {
            event.preventDefault();
            if (player.playing.value) player.toggle();
            else void player.playAt({ jobId: job.id, name }, segment.start_s, segment.end_s);
          }
        }}
      />
      <div class="editor-tools">
        {speakers.length > 0 && (
          <label>
            <span class="hidden">{text.transcript.whoSays}</span>
            <select value={speaker} onChange={(event) => setSpeaker(event.currentTarget.value)}>
              <option value="">{text.transcript.nobody}</option>
              {speakers.map((one) => (
                <option key={one} value={one}>
                  {text.transcript.speaker(one)}
                </option>
              ))}
            </select>
          </label>
        )}
        <button type="button" class="primary" disabled={saving} onClick={() => void save()}>
          {saving ? text.transcript.saving : text.transcript.save}
        </button>
        <button type="button" onClick={forget}>
          {text.transcript.leave}
        </button>
        <span class="muted">{text.transcript.editHint}</span>
      </div>
    </div>
  );
}

const RESULTS = ["summary", "entities", "quality", "classification", "translation"] as const;

function Understanding({ job, name, transcript, reload }: { job: Job; name: string; transcript: Transcript; reload: () => void }) {
  const made = RESULTS.filter((one) => job.results[one]);
  const [chosen, setChosen] = useState<string>(made[0] ?? "details");
  const stale = job.stale ?? [];
  const remake = () => send(`/v1/jobs/${job.id}/remake`, { method: "POST" }).then(() => (say(text.transcript.remade), setTimeout(reload, 3000)), (error: unknown) => say(words(error)));
  return (
    <aside class="understanding" aria-label={text.transcript.details}>
      <div class="segmented" role="group" aria-label={text.transcript.details}>
        {[...made, "details"].map((one) => (
          <button key={one} type="button" aria-pressed={chosen === one} onClick={() => setChosen(one)}>
            {text.transcript[one as "summary"]}
          </button>
        ))}
      </div>
      {stale.includes(chosen) && (
        <Notice>
          {text.transcript.stale}{" "}
          <button type="button" onClick={() => void remake()}>
            {text.transcript.remake}
          </button>
        </Notice>
      )}
      <div class="panel">
        {chosen === "details" ? <Details job={job} transcript={transcript} /> : chosen === "entities" ? <Entities job={job} name={name} /> : chosen === "quality" ? <Quality job={job} name={name} /> : <Value value={job.results[chosen]} job={job} name={name} />}
      </div>
    </aside>
  );
}

const title = (name: string) => (name[0] ?? "").toUpperCase() + name.slice(1).replaceAll("_", " ");
const MOMENTS: ReadonlySet<string> = new Set(["start_s", "end_s", "segment_ids", "passage_id", "evidence_ids"]);

/** A filled-in template of any shape: its texts, its lists, and moments that play. */
function Value({ value, job, name, depth = 0 }: { value: unknown; job: Job; name: string; depth?: number }) {
  if (value === null || value === undefined || value === "") return null;
  if (typeof value === "boolean") return <>{value ? "✓" : "–"}</>;
  if (typeof value !== "object") return <span dir="auto">{String(value)}</span>;
  if (Array.isArray(value))
    return (
      <ul class="points">
        {value.map((item, index) => (
          <li key={index}>
            <Value value={item} job={job} name={name} depth={depth + 1} />
          </li>
        ))}
      </ul>
    );
  const fields = value as Record<string, unknown>;
  const moment = typeof fields.start_s === "number" && <Moment jobId={job.id} name={name} start_s={fields.start_s} end_s={fields.end_s as number | undefined} />;
  const shown = Object.entries(fields).filter(([key, inner]) => !MOMENTS.has(key) && inner !== null && inner !== "" && !(Array.isArray(inner) && !inner.length));
  if (depth > 0)
    return (
      <span class="point">
        {moment}{" "}
        {shown.map(([key, inner]) => (
          <span key={key} class={`part ${["text", "task", "quote", "title"].includes(key) ? "main" : "muted"}`}>
            {key === "speaker" || key === "owner" ? text.transcript.speaker(String(inner)) : <Value value={inner} job={job} name={name} depth={depth + 1} />}
          </span>
        ))}
      </span>
    );
  return (
    <>
      {shown.map(([key, inner]) => (
        <section key={key} class="result">
          <h3>{title(key)}</h3>
          <Value value={inner} job={job} name={name} depth={1} />
        </section>
      ))}
    </>
  );
}

function Entities({ job, name }: { job: Job; name: string }) {
  const found = (job.results.entities as { entities?: { kind: string; text: string; start_s?: number; end_s?: number }[] }).entities ?? [];
  const kinds = [...new Set(found.map((entity) => entity.kind))];
  return (
    <>
      {kinds.map((kind) => (
        <section key={kind} class="result">
          <h3>{title(kind)}</h3>
          <ul class="points">
            {[...new Set(found.filter((entity) => entity.kind === kind).map((entity) => entity.text))].map((one) => (
              <li key={one}>
                <span class="part main">{one}</span>{" "}
                {found
                  .filter((entity) => entity.kind === kind && entity.text === one && entity.start_s != null)
                  .slice(0, 8)
                  .map((entity, index) => (
                    <Moment key={index} jobId={job.id} name={name} start_s={entity.start_s!} end_s={entity.end_s} />
                  ))}
              </li>
            ))}
          </ul>
        </section>
      ))}
    </>
  );
}

function Quality({ job, name }: { job: Job; name: string }) {
  const { score, passed, criteria, ...rest } = job.results.quality as { score: number; passed: boolean; criteria: Record<string, { score: number } & Record<string, unknown>> };
  return (
    <>
      <p class="score">
        <strong>{text.transcript.outOf(Math.round(score))}</strong> <span class={passed ? "good" : "bad"}>{passed ? text.transcript.passed : text.transcript.notPassed}</span>
      </p>
      {Object.entries(criteria).map(([criterion, { score: own, ...said }]) => (
        <section key={criterion} class="result">
          <h3>
            {title(criterion)} <span class="muted">{own} / 5</span>
          </h3>
          <Bar share={own / 5} label={title(criterion)} />
          <Value value={said} job={job} name={name} depth={1} />
        </section>
      ))}
      <Value value={rest} job={job} name={name} />
    </>
  );
}

function Details({ job, transcript }: { job: Job; transcript: Transcript }) {
  const metrics = job.metrics;
  const share = (value: number | null | undefined) => (value == null ? "" : `${Math.round(value * 100)} %`);
  const rows: [string, string][] = [
    [text.transcript.length, clock(transcript.duration_s)],
    [text.transcript.took, metrics.processing_s ? `${metrics.processing_s.toFixed(1)} s${metrics.rtf ? `, ${text.transcript.speed((1 / metrics.rtf).toFixed(metrics.rtf > 0.1 ? 1 : 0))}` : ""}` : ""],
    [text.transcript.confidence, share(metrics.asr_confidence_avg)],
    [text.transcript.coverageShare, share(metrics.vad_coverage)],
    [text.transcript.recordedAs, [job.recording?.codec, job.recording?.sample_rate_hz && `${job.recording.sample_rate_hz / 1000} kHz`].filter(Boolean).join(", ")],
    ...Object.entries(job.versions as Record<string, { model?: string; demo?: boolean } | string>).flatMap(([role, model]): [string, string][] =>
      typeof model === "object" && model?.model ? [[text.transcript.roles[role] ?? title(role), model.model + (model.demo ? ` (${text.operate.demo})` : "")]] : [],
    ),
    [text.transcript.jobId, job.id],
  ];
  return (
    <dl class="details">
      {rows
        .filter(([, value]) => value)
        .map(([label, value]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
