"""A transcript as a file that people or players read: plain text, Markdown, SubRip (srt), WebVTT (W3C, vtt)."""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Literal

from pipelines.domain.transcript import Segment, Transcript
from pipelines.domain.words import TimedWord, locate_words, text_between
from pipelines.domain.writing import find_pieces, join_texts

TranscriptFormat = Literal["text", "md", "srt", "vtt"]

LINE_CHARACTERS = 42
CUE_LINES = 2
CUE_S = 7.0
"""Two lines of 42 characters for at most 7 s: what broadcasters' guides ask for. A Chinese character is two wide, and a
speaker's name counts as it is shown."""
_NAME_CHARACTERS = 24
"""So much of a speaker's name is shown in front of the text."""
_SHORTEST_CUE_MS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """What stands on the screen from start to end."""

    start_ms: int
    end_ms: int
    text: str
    speaker: str | None


def write_transcript(transcript: Transcript, form: TranscriptFormat) -> str:
    """Return the transcript in one of the formats, ending with a line break; empty for no text (vtt: its header)."""
    return _WRITERS[form](transcript)


def write_text(transcript: Transcript) -> str:
    """Return plain text: one line, or one line a turn, ``SPEAKER_00: …``, where speakers are known."""
    return "".join(f"{speaker}: {text}\n" if speaker else f"{text}\n" for speaker, _, text in _turns(transcript))


def write_markdown(transcript: Transcript) -> str:
    """Return one paragraph a turn, with speaker and time; what Markdown would interpret is escaped."""
    paragraphs = [
        f"**{_markdown(speaker or 'Transcript')}** · {_clock(start_s)}\n\n{_markdown(text)}\n"
        for speaker, start_s, text in _turns(transcript)
    ]
    return "\n".join(paragraphs)


def write_srt(transcript: Transcript) -> str:
    """Return SubRip. It has no escapes: an arrow inside the text is replaced, so that no reader takes it for times."""
    blocks = []
    for number, cue in enumerate(make_cues(transcript.segments), start=1):
        spoken = _named(cue.speaker) + cue.text
        times = f"{_timestamp(cue.start_ms, ',')} --> {_timestamp(cue.end_ms, ',')}"
        lines = "\n".join(_lines(spoken.replace("-->", "→")))
        blocks.append(f"{number}\n{times}\n{lines}\n")
    return "\n".join(blocks)


def write_vtt(transcript: Transcript) -> str:
    """Return WebVTT with the speaker as the cue's voice; markup characters are escaped."""
    blocks = ["WEBVTT\n"]
    for cue in make_cues(transcript.segments):
        voice = f"<v {html.escape(cue.speaker, quote=False)}>" if cue.speaker else ""
        text = "\n".join(html.escape(line, quote=False) for line in _lines(cue.text))
        blocks.append(f"{_timestamp(cue.start_ms, '.')} --> {_timestamp(cue.end_ms, '.')}\n{voice}{text}\n")
    return "\n".join(blocks)


def make_cues(segments: Iterable[Segment]) -> list[Cue]:
    """Return one cue a segment, or several where it is long, cut between words. None is empty.

    A word that is too long for a line, and only that, makes a cue larger than two lines of 42 characters.
    """
    return [cue for segment in segments for cue in _cues_of(segment) if cue.text]


def _cues_of(segment: Segment) -> list[Cue]:
    if _fits(segment.text, segment.end_s - segment.start_s, segment.speaker):
        return [_cue(segment.start_s, segment.end_s, segment.text, segment.speaker)]
    words = locate_words(segment)
    bounds = _screens(segment, words)
    return [
        _cue(
            words[first].start_s if segment.words or first else segment.start_s,
            words[last - 1].end_s if segment.words or last < len(words) else segment.end_s,
            text_between(segment, words, first, last),
            segment.speaker,
        )
        for first, last in pairwise(bounds)
    ]


def _screens(segment: Segment, words: Sequence[TimedWord]) -> list[int]:
    """Return where screens begin, by word, and the end of the last: each is filled before it is too long or too slow.

    They begin where a line may: "50 %" that is written "50%" stays together.
    """
    breaks = {piece.start() for piece in find_pieces(segment.text)}
    places = [*(place for place, word in enumerate(words) if not place or word.offset in breaks), len(words)]
    bounds = [0]
    for before, after in pairwise(places):
        text = text_between(segment, words, bounds[-1], after)
        if before > bounds[-1] and not _fits(text, words[after - 1].end_s - words[bounds[-1]].start_s, segment.speaker):
            bounds.append(before)
    return [*bounds, len(words)] if words else []


def _fits(text: str, duration_s: float, speaker: str | None) -> bool:
    lines = _filled(_named(speaker) + " ".join(text.split()), LINE_CHARACTERS)
    return len(lines) <= CUE_LINES and max(map(_width, lines), default=0) <= LINE_CHARACTERS and duration_s <= CUE_S


def _cue(start_s: float, end_s: float, text: str, speaker: str | None) -> Cue:
    start_ms = round(max(0.0, start_s) * 1000)
    return Cue(
        start_ms=start_ms,
        end_ms=max(round(end_s * 1000), start_ms + _SHORTEST_CUE_MS),
        text=" ".join(text.split()),
        speaker=" ".join(speaker.split()) if speaker else None,
    )


def _turns(transcript: Transcript) -> list[tuple[str | None, float, str]]:
    """Return (speaker, start, text) for each stretch of segments by one speaker."""
    spoken = [segment for segment in transcript.segments if segment.text.strip()]
    turns = []
    for speaker, group in groupby(spoken, key=lambda segment: segment.speaker):
        segments = list(group)
        turns.append((speaker, segments[0].start_s, join_texts(segment.text for segment in segments)))
    return turns


def _named(speaker: str | None) -> str:
    """Return what stands in front of a text: so much of the speaker's name as leaves room for it."""
    if not speaker:
        return ""
    return f"{speaker if _width(speaker) <= _NAME_CHARACTERS else f'{speaker[: _NAME_CHARACTERS // 2]}…'}: "


def _lines(text: str) -> list[str]:
    """Break between words into as few lines as hold it, all about equally long; of Chinese, between characters."""
    greedy = _filled(text, LINE_CHARACTERS)
    narrowest = -(-_width(text) // max(1, len(greedy)))
    tries = (_filled(text, width) for width in range(narrowest, LINE_CHARACTERS))
    return next((lines for lines in tries if len(lines) <= len(greedy)), greedy)


def _filled(text: str, width: int) -> list[str]:
    """Fill lines up to a width; a word that is longer has a line of its own."""
    lines, start = list[str](), 0
    places = [*(piece.start() for piece in find_pieces(text)), len(text)]
    for place, end in pairwise(places):
        if place > start and _width(text[start:end].rstrip()) > width:
            lines.append(text[start:place].rstrip())
            start = place
    return [*lines, text[start:]]


def _width(text: str) -> int:
    """Count characters as a screen does: one that is as wide as a Chinese one twice, a mark on another not at all."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def _markdown(text: str) -> str:
    inside = re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", text)
    return re.sub(r"^(\d+)([.)])|^([-+])", lambda match: re.sub(r"([-+.)])", r"\\\1", match[0]), inside)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600:d}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def _timestamp(milliseconds: int, separator: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{separator}{rest:03d}"


_WRITERS: Mapping[TranscriptFormat, Callable[[Transcript], str]] = {
    "text": write_text,
    "md": write_markdown,
    "srt": write_srt,
    "vtt": write_vtt,
}
