"""How times, sizes and speech look in a terminal."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from serve_app.client.shapes import HitBody, SegmentBody

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
