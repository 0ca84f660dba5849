"""A transcript for other tools: who speaks when (RTTM), who says what (STM, SegLST), every word (CTM), a Word document.

Sources: NIST RT-09 evaluation plan, appendices A and B (RTTM, STM, CTM: fields between spaces, so a name has none);
meeteval's documentation (SegLST). Nothing that somebody said can become a field, a comment or a line of its own.
"""

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from pipelines.domain.transcript import Segment, Transcript
from pipelines.domain.words import locate_words
from pipelines.domain.writing import join_texts

ExchangeFormat = Literal["rttm", "stm", "ctm", "seglst", "docx"]
_NOBODY = "unknown"
_FORBIDDEN_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Titled:
    """A transcript, and what its recording is called."""

    title: str
    """The recording's file name."""
    transcript: Transcript

    @property
    def name(self) -> str:
        """The title as one word without its ending: how these formats name a recording."""
        return _word(self.title.rpartition(".")[0] or self.title)


def write_exchange(titled: Titled, form: ExchangeFormat) -> bytes:
    """Return the transcript in one of the formats. Text is UTF-8."""
    return _WRITERS[form](titled)


def _rttm(titled: Titled) -> bytes:
    return _lines(
        f"SPEAKER {titled.name} 1 {segment.start_s:.3f} {_length_s(segment):.3f} <NA> <NA> {speaker} <NA> <NA>"
        for segment, speaker in _spoken(titled)
    )


def _stm(titled: Titled) -> bytes:
    return _lines(
        f"{titled.name} 1 {speaker} {segment.start_s:.3f} {segment.end_s:.3f} {_plain(segment.text)}"
        for segment, speaker in _spoken(titled)
    )


def _ctm(titled: Titled) -> bytes:
    return _lines(
        f"{titled.name} 1 {word.start_s:.3f} {max(0.0, word.end_s - word.start_s):.3f} {_plain(part)} {confidence:.2f}"
        for segment, _ in _spoken(titled)
        for place, word in enumerate(locate_words(segment))
        for confidence in [_confidence(segment, place)]
        for part in word.text.split()
    )


def _seglst(titled: Titled) -> bytes:
    entries = [
        {
            "session_id": titled.name,
            "speaker": speaker,
            "start_time": round(segment.start_s, 3),
            "end_time": round(segment.end_s, 3),
            "words": " ".join(segment.text.split()),
        }
        for segment, speaker in _spoken(titled)
    ]
    return json.dumps(entries, ensure_ascii=False, indent=1).encode("utf-8", "replace")


def _docx(titled: Titled) -> bytes:
    from docx import Document

    document = Document()
    document.core_properties.title, document.core_properties.author = _printable(titled.title)[:255], ""
    document.add_heading(_printable(titled.title), level=1)
    for speaker, group in groupby(titled.transcript.segments, key=lambda segment: segment.speaker):
        segments = [segment for segment in group if segment.text.strip()]
        if segments:
            paragraph = document.add_paragraph()
            paragraph.add_run(f"{_clock(segments[0].start_s)}  {_printable(speaker or '')}".rstrip()).bold = True
            paragraph.add_run().add_break()
            paragraph.add_run(_printable(join_texts(segment.text for segment in segments)))
    written = io.BytesIO()
    document.save(written)
    return written.getvalue()


_WRITERS: Mapping[ExchangeFormat, Callable[[Titled], bytes]] = {
    "rttm": _rttm,
    "stm": _stm,
    "ctm": _ctm,
    "seglst": _seglst,
    "docx": _docx,
}


def _spoken(titled: Titled) -> Iterator[tuple[Segment, str]]:
    for segment in titled.transcript.segments:
        if segment.text.strip():
            yield segment, _word(segment.speaker or _NOBODY)


def _length_s(segment: Segment) -> float:
    return max(0.0, segment.end_s - segment.start_s)


def _confidence(segment: Segment, place: int) -> float:
    own = segment.words[place].confidence if place < len(segment.words) else None
    return own if own is not None else segment.confidence if segment.confidence is not None else 1.0


def _word(name: str) -> str:
    """Return a name as one word, which begins neither as a comment (``;;``) nor as a spreadsheet's formula does."""
    return re.sub(r"[\s<>{}()]+", "_", _printable(name)).lstrip(";=+-@_") or _NOBODY


def _plain(text: str) -> str:
    """Return words alone: ``<…>`` would be a label, ``{a / b}`` a choice, ``;;`` a comment, ``(…)`` optional."""
    kept = re.sub(r"[<>{}()@]|;;+", " ", _printable(text))
    return " ".join(kept.split()) or "-"


def _printable(text: str) -> str:
    return " ".join(_FORBIDDEN_IN_XML.sub("", text).split())


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600:d}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def _lines(lines: Iterator[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
