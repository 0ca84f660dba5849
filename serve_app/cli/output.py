"""Results as a terminal shows them."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from serve_app.client.shapes import ChatBody, CoverageBody, HitBody, JobBody, SegmentBody


def kind_of(job: "JobBody") -> str:
    """Return the job's kind; an older server has one kind only."""
    return job.get("kind", "recording")


def subject(job: "JobBody") -> str:
    """Return what a job is about in a few words: a file's name, or its kind."""
    recording = job["recording"]
    if recording is not None:
        return recording.get("filename", "")
    return ": ".join([kind_of(job), *job["features"][:1]])


def outcome_lines(job: "JobBody") -> list[str]:
    """Return what to print of a job that has succeeded."""
    return _OUTCOMES.get(kind_of(job), _of_a_recording)(job)


def answer_lines(answer: "ChatBody | Mapping[str, Any]") -> list[str]:
    """Return an answer, and a line for each of its citations."""
    return [answer["answer"], *map(_citation_line, answer["citations"])]


def _citation_line(citation: Mapping[str, Any]) -> str:
    speaker = f"{citation['speaker']}: " if citation["speaker"] else ""
    when = f"{clock(citation['start_s'])} – {clock(citation['end_s'])}"
    return f"  [{citation['n']}] {citation['recording']} {when}  {speaker}“{citation['quote']}”"


def _of_a_recording(job: "JobBody") -> list[str]:
    warned = [f"Note: {warning['message']}." for warning in job.get("warnings", ())]
    return [*warned, f"Done. Read it: rayscribe transcript {job['id']}"]


def _of_a_text(job: "JobBody") -> list[str]:
    """Return the result of the skill: the one key beside those that every job has."""
    versions = (job["versions"] or {}).get("llm", {})
    results = job["results"] or {}
    return [json.dumps(results.get(skill), indent=2, ensure_ascii=False) for skill in versions]


def _of_a_chat(job: "JobBody") -> list[str]:
    return answer_lines((job["results"] or {})["chat"])


def _of_a_reindexing(job: "JobBody") -> list[str]:
    done = (job["results"] or {})["reindex"]
    return [f"Done. {done['collection']} holds vectors of {done['embedder']}: {done['passages']} passages."]


def _of_a_revision(job: "JobBody") -> list[str]:
    done = (job["results"] or {})["revision"]
    return [f"Done. {', '.join(done['stages'])} of {done['job_id']} follow revision {done['revision']}."]


_OUTCOMES: Mapping[str, Callable[["JobBody"], list[str]]] = {
    "text": _of_a_text,
    "chat": _of_a_chat,
    "reindex": _of_a_reindexing,
    "revision": _of_a_revision,
}

_SPEAKER_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


def clock(seconds: float) -> str:
    """Return a position in a recording: ``01:02.3``, or ``1:01:02.3`` from one hour on."""
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36_000, tenths // 600 % 60, tenths % 600
    return f"{hours}:{minutes:02d}:{rest / 10:04.1f}" if hours else f"{minutes:02d}:{rest / 10:04.1f}"


def size(count: float) -> str:
    """Return bytes as people say them: ``1.6 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in ("B", "kB") else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a line a row with columns aligned; never cut, so that names can be copied and lines be searched."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def speaker_colours(speakers: Iterable[str | None]) -> dict[str, str]:
    """Give each speaker a colour, in order of appearance."""
    distinct = dict.fromkeys(speaker for speaker in speakers if speaker)
    return {speaker: _SPEAKER_COLOURS[n % len(_SPEAKER_COLOURS)] for n, speaker in enumerate(distinct)}


def print_transcript(console: "Console", segments: Sequence["SegmentBody"]) -> None:
    """Print one line a segment: when, who, what."""
    from rich.text import Text

    colours = speaker_colours(segment.get("speaker") for segment in segments)
    for segment in segments:
        speaker = segment.get("speaker") or ""
        when = f"{clock(segment['start_s'])} – {clock(segment['end_s'])}  "
        head = Text.assemble((when, "dim"), (f"{speaker:<12}" if colours else "", colours.get(speaker, "")))
        console.print(head.append(segment["text"]), soft_wrap=not console.is_terminal)


_LEDGER: Mapping[str, tuple[str, str]] = {
    "text": ("█", "green"),
    "dropped": ("×", "bold red"),
    "noise": ("░", "yellow"),
    "silence": ("·", "dim"),
}
_BAR_WIDTH = 72


def print_coverage(console: "Console", ledger: "CoverageBody") -> None:
    """Print a ledger: a bar, what its signs mean and how much there is of each, and each stretch that was dropped."""
    from rich.text import Text

    width = max(20, min(_BAR_WIDTH, console.width - 20))
    cells = [Text(*_LEDGER[kind]) for kind in coverage_bar(ledger, width)]
    console.print(Text.assemble("00:00.0 ", *cells, f" {clock(ledger['duration_s'])}"))
    for kind, seconds in ledger["totals"].items():
        share = seconds / ledger["duration_s"] if ledger["duration_s"] else 0.0
        console.print(Text.assemble("  ", _LEDGER[kind], f" {kind:<8}{clock(seconds):>10}  {share:6.1%}"))
    for span in ledger["spans"]:
        if span["kind"] == "dropped":
            console.print(f"  dropped {clock(span['start_s'])} – {clock(span['end_s'])}  {span['reason']}")


def coverage_bar(ledger: "CoverageBody", width: int) -> list[str]:
    """Return what most of each of ``width`` equal stretches is; dropped speech shows in each that it touches."""
    cells: list[str] = []
    spans, place = ledger["spans"], 0
    for cell in range(width if spans else 0):
        start_s, end_s = (edge * ledger["duration_s"] / width for edge in (cell, cell + 1))
        while place + 1 < len(spans) and spans[place]["end_s"] <= start_s:
            place += 1
        seconds, at = dict.fromkeys(_LEDGER, 0.0), place
        while at < len(spans) and spans[at]["start_s"] < end_s:
            seconds[spans[at]["kind"]] += min(end_s, spans[at]["end_s"]) - max(start_s, spans[at]["start_s"])
            at += 1
        cells.append("dropped" if seconds["dropped"] > 0 else max(seconds, key=seconds.__getitem__))
    return cells


def print_hits(console: "Console", hits: Sequence["HitBody"]) -> None:
    """Print each hit: score, recording, time, speakers, and what was said."""
    for number, hit in enumerate(hits, start=1):
        console.print(_hit_line(number, hit), soft_wrap=not console.is_terminal)
    if not hits:
        console.print("  nothing found", style="yellow")


def _hit_line(number: int, hit: "HitBody") -> "Text":
    from rich.text import Text

    said = Text(hit["text"])
    for span in hit.get("highlights") or ():
        said.stylize("bold", span["start"], span["end"])
    return Text.assemble(
        f"  {number}. ",
        (f"{hit['score']:.3f}  ", "bold green"),
        (f"{hit['recording']} {clock(hit['start_s'])} – {clock(hit['end_s'])}  ", "dim"),
        (f"{', '.join(hit['speakers'])}  " if hit["speakers"] else "", "cyan"),
        said,
    )
