"""What was really said, as its writers left it: STM, RTTM, plain text, and what ``exchange`` reads.

Sources: NIST's STM and RTTM (RT-09 evaluation plan).
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.domain.transcript import Segment, Word
from pipelines.errors import InvalidRequest
from pipelines.exchange.reading import read_transcript_file

AUDIO_SUFFIXES = frozenset(
    {".wav", ".mp3", ".flac", ".m4a", ".mp4", ".ogg", ".opus", ".webm", ".aac", ".wma", ".mkv", ".mov", ".amr"}
)
REFERENCE_SUFFIXES = (".stm", ".json", ".srt", ".vtt", ".txt")
"""Of texts, the first that is there is taken; an ``.rttm`` beside it says who speaks."""
_PARAM = "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What is known of a recording."""

    text: str | None = None
    """None: only who speaks is known."""
    segments: tuple[Segment, ...] = ()
    """With times and speakers, where they are known."""
    turns: tuple[Segment, ...] = ()
    """Who speaks when: of an RTTM, else the segments that name a speaker."""
    words: tuple[Word, ...] = ()
    """With times, where they are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A recording and its reference: a line of a manifest."""

    audio: Path
    references: tuple[Path, ...] = ()
    text: str | None = None
    language: str | None = None

    @property
    def name(self) -> str:
        """What results are kept under."""
        return str(self.audio)


def read_manifest(path: Path) -> list[Row]:
    """Read rows: of a folder, each recording with the references beside it; else tab-separated lines.

    A line holds a recording, its text or the file that holds it, and, where it is known, its language; paths count from
    the manifest's folder. A first line of ``audio`` or ``path`` is a heading. Raises InvalidRequest, OSError.
    """
    if path.is_dir():
        found = [_beside(file) for file in sorted(path.rglob("*")) if file.suffix.lower() in AUDIO_SUFFIXES]
        rows = [row for row in found if row.references]
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        filled = [line for line in lines if any(cell.strip() for cell in line)]
        headed = bool(filled) and filled[0][0].strip().lower() in ("audio", "path", "file")
        rows = [_row(line, path.parent) for line in filled[headed:]]
    if not rows:
        raise InvalidRequest(f"{path} names no recording that has a reference", "manifest")
    return rows


def _beside(audio: Path) -> Row:
    texts = [file for suffix in REFERENCE_SUFFIXES if (file := audio.with_suffix(suffix)).is_file()][:1]
    turns = [file for file in [audio.with_suffix(".rttm")] if file.is_file()]
    return Row(audio=audio, references=(*texts, *turns))


def _row(cells: Sequence[str], folder: Path) -> Row:
    audio, reference, language = (*(cell.strip() for cell in cells[:3]), "", "")[:3]
    row = Row(audio=folder / audio, language=language or None)
    if Path(reference).suffix.lower() in (*REFERENCE_SUFFIXES, ".rttm"):
        return replace(row, references=(folder / reference,))
    return replace(row, text=reference) if reference else replace(row, references=_beside(folder / audio).references)


def read_reference(row: Row) -> Reference:
    """Read what a row refers to. Raises InvalidRequest where it is not what its name says, OSError."""
    reference = Reference(text=row.text)
    for path in row.references:
        content = path.read_text(encoding="utf-8-sig")
        match path.suffix.lower():
            case ".rttm":
                reference = replace(reference, turns=read_rttm(content))
            case ".txt":
                reference = replace(reference, text=content)
            case ".stm":
                reference = _of_segments(reference, read_stm(content))
            case _:
                reference = _of_segments(reference, read_transcript_file(content).transcript.segments)
    if reference.text is None and not reference.turns:
        raise InvalidRequest("there is neither a text nor a file with one", _PARAM)
    return reference


def _of_segments(reference: Reference, segments: tuple[Segment, ...]) -> Reference:
    return replace(
        reference,
        text=" ".join(segment.text for segment in segments),
        segments=segments,
        turns=reference.turns or tuple(segment for segment in segments if segment.speaker),
        words=tuple(word for segment in segments for word in segment.words),
    )


def read_rttm(content: str) -> tuple[Segment, ...]:
    """Read who speaks when. Raises InvalidRequest."""
    return tuple(
        _timed(number, fields[3], fields[4], fields[7], "", length=True)
        for number, fields in _lines(content, least=8)
        if fields[0] == "SPEAKER"
    )


def read_stm(content: str) -> tuple[Segment, ...]:
    """Read what is said, by whom; a label in angle brackets is left out, and so is what is to be ignored."""
    segments = []
    for number, fields in _lines(content, least=5):
        said = fields[5:]
        if said and said[0].startswith("<") and said[0].endswith(">"):
            said = said[1:]
        text = " ".join(said)
        if text != "IGNORE_TIME_SEGMENT_IN_SCORING":
            segments.append(_timed(number, fields[3], fields[4], fields[2], text, length=False))
    ordered = sorted(segments, key=lambda segment: segment.start_s)
    return tuple(replace(segment, id=place) for place, segment in enumerate(ordered))


def _lines(content: str, *, least: int) -> Iterable[tuple[int, list[str]]]:
    for number, line in enumerate(content.splitlines(), start=1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        if len(fields) < least:
            raise InvalidRequest(f"line {number} has {len(fields)} fields, and must have {least}", _PARAM)
        yield number, fields


def _timed(number: int, start: str, end: str, speaker: str, text: str, *, length: bool) -> Segment:
    try:
        start_s, end_s = float(start), float(end)
    except ValueError:
        raise InvalidRequest(f"line {number} has no times: {start} {end}", _PARAM) from None
    end_s += start_s if length else 0.0
    if not 0 <= start_s <= end_s < float("inf"):
        raise InvalidRequest(f"line {number} ends before it starts", _PARAM)
    return Segment(id=number, start_s=start_s, end_s=end_s, text=text, speaker=speaker)
