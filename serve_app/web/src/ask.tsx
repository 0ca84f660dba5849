/** Search and questions: what was said is found, and heard where it stands. */
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Citation, type Collection, collections, eventsOf, type Hit, locked, sendJson } from "./api";
import { clock, Empty, Icon, Notice, words } from "./parts";
import * as player from "./player";
import { text } from "./text";

interface Turn {
  question: string;
  answer: string;
  citations: Citation[];
  sources: number;
  grounded: boolean | null;
  extractive: boolean;
  error: string;
  done: boolean;
}

// A conversation and a search outlive their view, so that a citation can be looked up and come back from.
const turns = signal<Turn[]>([]);
const chosen = signal("");
const searched = signal<{ query: string; hits: Hit[] } | null>(null);

function useCollections(): Collection[] | null {
  const [known, setKnown] = useState<Collection[] | null>(null);
  useEffect(() => {
    if (!locked.value) collections().then((found) => setKnown(found.filter((one) => !one.damaged && one.passages > 0)), () => setKnown([]));
  }, [locked.value]);
  return known;
}

function names(known: readonly Collection[]): string[] {
  return known.some((one) => one.name === chosen.value) ? [chosen.value] : known.map((one) => one.name).slice(0, 20);
}

function Where({ known }: { known: readonly Collection[] }) {
  return (
    <label class="field">
      <span class="hidden">{text.search.where}</span>
      <select value={chosen.value} onChange={(event) => (chosen.value = event.currentTarget.value)}>
        <option value="">{text.search.everywhere}</option>
        {known.map((one) => (
          <option key={one.name} value={one.name}>
            {one.name}
          </option>
        ))}
      </select>
    </label>
  );
}

function Nothing() {
  return (
    <Empty title={text.search.noCollections} lead={text.search.noCollectionsLead}>
      <a class="button" href="#/">
        {text.search.toLibrary}
      </a>
    </Empty>
  );
}

export function Search() {
  const known = useCollections();
  const [query, setQuery] = useState(searched.value?.query ?? "");
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState("");
  const find = async (event: Event) => {
    event.preventDefault();
    if (!query.trim() || !known) return;
    setBusy(true);
    setTrouble("");
    try {
      const response = await sendJson("POST", "/v1/search", { query, collections: names(known), top_k: 20, highlight: true });
      searched.value = { query, hits: (await response.json()).hits };
    } catch (error) {
      setTrouble(words(error));
    }
    setBusy(false);
  };
  return (
    <div class="view">
      <header class="view-head">
        <h1>{text.search.title}</h1>
        <p>{text.search.lead}</p>
      </header>
      {known?.length === 0 ? (
        <Nothing />
      ) : (
        <form class="asking" role="search" onSubmit={find}>
          <label class="find">
            <span class="hidden">{text.search.label}</span>
            <Icon name="search" />
            <input type="search" placeholder={text.search.label} value={query} onInput={(event) => setQuery(event.currentTarget.value)} />
          </label>
          {known && known.length > 1 && <Where known={known} />}
          <button type="submit" class="primary" disabled={busy || !known}>
            {text.search.button}
          </button>
        </form>
      )}
      {trouble && <Notice kind="error">{trouble}</Notice>}
      <div role="status" class="muted">
        {searched.value && (searched.value.hits.length ? text.search.hits(searched.value.hits.length) : text.search.nothing)}
      </div>
      <ol class="hits">
        {searched.value?.hits.map((hit) => (
          <HitCard key={hit.passage_id} hit={hit} />
        ))}
      </ol>
    </div>
  );
}

function HitCard({ hit }: { hit: Hit }) {
  const playingHere = player.track.value?.jobId === hit.job_id && player.span.value?.start_s === hit.start_s && player.playing.value;
  return (
    <li class={playingHere ? "hit-card playing" : "hit-card"}>
      <button
        type="button"
        class="round"
        aria-label={text.search.play(hit.recording, clock(hit.start_s))}
        onClick={() => (playingHere ? player.toggle() : void player.playAt({ jobId: hit.job_id, name: hit.recording }, hit.start_s, hit.end_s))}
      >
        <Icon name={playingHere ? "pause" : "play"} />
      </button>
      <div>
        <p class="hit-meta">
          <strong>{hit.recording}</strong> {clock(hit.start_s)} – {clock(hit.end_s)} · {[...hit.speakers.map(text.transcript.speaker), hit.collection].join(" · ")}
        </p>
        <p class="hit-text" dir="auto">
          <Highlighted text={hit.text} spans={hit.highlights} />
        </p>
        <a href={`#/jobs/${hit.job_id}?t=${hit.start_s}`}>{text.search.open}</a>
      </div>
    </li>
  );
}

function Highlighted({ text: whole, spans }: { text: string; spans: readonly { start: number; end: number }[] }) {
  // Positions count characters as Python does; a string here counts UTF-16 units.
  const characters = [...whole];
  const parts: ComponentChildren[] = [];
  let at = 0;
  for (const span of spans) {
    parts.push(characters.slice(at, span.start).join(""), <mark key={span.start}>{characters.slice(span.start, span.end).join("")}</mark>);
    at = span.end;
  }
  return <>{[...parts, characters.slice(at).join("")]}</>;
}

export function Ask() {
  const known = useCollections();
  const [question, setQuestion] = useState("");
  const abort = useRef<AbortController | null>(null);
  const end = useRef<HTMLDivElement>(null);
  const busy = turns.value.length > 0 && !turns.value.at(-1)!.done;
  useEffect(() => end.current?.scrollIntoView({ block: "nearest" }), [turns.value]);
  const ask = async (asked: string) => {
    if (!asked.trim() || !known?.length || busy) return;
    setQuestion("");
    const before = turns.value.filter((turn) => turn.answer && !turn.error).slice(-6);
    const messages = [...before.flatMap((turn) => [{ role: "user", content: turn.question }, { role: "assistant", content: turn.answer }]), { role: "user", content: asked }];
    turns.value = [...turns.value, { question: asked, answer: "", citations: [], sources: 0, grounded: null, extractive: false, error: "", done: false }];
    const change = (changes: (turn: Turn) => Partial<Turn>) => {
      const last = turns.value.at(-1)!;
      turns.value = [...turns.value.slice(0, -1), { ...last, ...changes(last) }];
    };
    abort.current = new AbortController();
    try {
      const body = { messages, collections: names(known), stream: true };
      const response = await sendJson("POST", "/v1/chat", body, { accept: "text/event-stream" });
      abort.current.signal.addEventListener("abort", () => void response.body?.cancel().catch(() => undefined));
      for await (const event of eventsOf(response)) {
        if (abort.current.signal.aborted) break;
        if (event.type === "sources") change(() => ({ sources: event.data.sources.length }));
        else if (event.type === "delta") change((turn) => ({ answer: turn.answer + event.data.text }));
        else if (event.type === "citations") change(() => ({ citations: event.data.citations }));
        else if (event.type === "done") change(() => ({ grounded: event.data.grounded, extractive: event.data.degraded.some((one: { used: string }) => one.used === "extractive") }));
        else if (event.type === "error") change(() => ({ error: event.data.error.message }));
      }
    } catch (error) {
      if (!abort.current.signal.aborted) change(() => ({ error: words(error) }));
    }
    change(() => ({ done: true }));
  };
  return (
    <div class="view ask">
      <header class="view-head">
        <h1>{text.ask.title}</h1>
        <p>{text.ask.lead}</p>
      </header>
      {known?.length === 0 && <Nothing />}
      <div class="turns" aria-live="polite" aria-busy={busy}>
        {turns.value.map((turn, index) => (
          <TurnView key={index} turn={turn} />
        ))}
        <div ref={end} />
      </div>
      {known && known.length > 0 && (
        <div class="composer">
          {turns.value.length === 0 && (
            <div class="examples">
              {text.ask.examples.map((example) => (
                <button type="button" key={example} onClick={() => void ask(example)}>
                  {example}
                </button>
              ))}
            </div>
          )}
          <form
            class="asking"
            onSubmit={(event) => {
              event.preventDefault();
              void ask(question);
            }}
          >
            <label class="find">
              <span class="hidden">{text.ask.label}</span>
              <Icon name="ask" />
              <input type="text" placeholder={text.ask.label} value={question} onInput={(event) => setQuestion(event.currentTarget.value)} />
            </label>
            {known.length > 1 && <Where known={known} />}
            {busy ? (
              <button type="button" onClick={() => abort.current?.abort()}>
                {text.ask.stop}
              </button>
            ) : (
              <button type="submit" class="primary">
                {text.ask.button}
              </button>
            )}
          </form>
          {turns.value.length > 0 && !busy && (
            <button type="button" class="quiet" onClick={() => (turns.value = [])}>
              {text.ask.fresh}
            </button>
          )}
        </div>
      )}
    </div>
  );
}

function TurnView({ turn }: { turn: Turn }) {
  return (
    <article class="turn">
      <h2 class="question" dir="auto">
        {turn.question}
      </h2>
      <div class="answer" dir="auto">
        {turn.answer ? <Answer turn={turn} /> : !turn.done && <span class="muted">{text.ask.thinking}</span>}
        {turn.error && <Notice kind="error">{turn.error}</Notice>}
        {turn.done && turn.grounded === false && <Notice>{text.ask.ungrounded}</Notice>}
      </div>
      {turn.citations.length > 0 && (
        <ol class="citations">
          {turn.citations.map((citation) => (
            <li key={citation.n}>
              <Chip citation={citation} />
              <div>
                <p class="hit-meta">
                  <strong>{citation.recording}</strong> {clock(citation.start_s)}
                  {citation.speaker ? ` · ${text.transcript.speaker(citation.speaker)}` : ""}
                  <span class="verified" title={text.ask.verified}>
                    <Icon name="check" />
                    <span class="hidden">{text.ask.verified}</span>
                  </span>
                </p>
                <p dir="auto">“{citation.quote}”</p>
              </div>
            </li>
          ))}
        </ol>
      )}
      {turn.done && turn.sources > 0 && (
        <p class="muted small">
          {text.ask.sources(turn.sources)}. {turn.extractive && text.ask.extractive}
        </p>
      )}
    </article>
  );
}

/** The answer, its markers turned into chips that play. */
function Answer({ turn }: { turn: Turn }) {
  const parts = turn.answer.split(/(\[\d+\])/);
  return (
    <>
      {parts.map((part, index) => {
        const number = /^\[(\d+)\]$/.exec(part)?.[1];
        const citation = number && turn.citations.find((one) => one.n === Number(number));
        return citation ? <Chip key={index} citation={citation} /> : number ? <sup key={index}>{number}</sup> : part;
      })}
    </>
  );
}

function Chip({ citation }: { citation: Citation }) {
  const playingHere = player.track.value?.jobId === citation.job_id && player.span.value?.start_s === citation.start_s && player.playing.value;
  return (
    <button
      type="button"
      class={playingHere ? "chip playing" : "chip"}
      aria-label={text.ask.citation(citation.n, citation.recording, clock(citation.start_s))}
      onClick={() => (playingHere ? player.toggle() : void player.playAt({ jobId: citation.job_id, name: citation.recording }, citation.start_s, citation.end_s))}
    >
      <Icon name={playingHere ? "pause" : "play"} />
      {citation.n}
    </button>
  );
}
