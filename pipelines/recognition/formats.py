"""A transcript as a file that people or players read: plain text, Markdown, SubRip (srt), WebVTT (W3C, vtt)."""

import html
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from pipelines.domain.transcript import Segment, Transcript, Word

TranscriptFormat = Literal["text", "md", "srt", "vtt"]

LINE_CHARACTERS = 42
CUE_CHARACTERS = 2 * LINE_CHARACTERS
CUE_S = 7.0
"""Two lines of 42 characters for at most 7 s: what broadcasters' guides ask for."""
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
        spoken = f"{cue.speaker}: {cue.text}" if cue.speaker else cue.text
        times = f"{_timestamp(cue.start_ms, ',')} --> {_timestamp(cue.end_ms, ',')}"
        blocks.append(f"{number}\n{times}\n{_wrapped(spoken.replace('-->', '→'))}\n")
    return "\n".join(blocks)


def write_vtt(transcript: Transcript) -> str:
    """Return WebVTT with the speaker as the cue's voice; markup characters are escaped."""
    blocks = ["WEBVTT\n"]
    for cue in make_cues(transcript.segments):
        voice = f"<v {html.escape(cue.speaker, quote=False)}>" if cue.speaker else ""
        text = "\n".join(html.escape(line, quote=False) for line in _wrapped(cue.text).split("\n"))
        blocks.append(f"{_timestamp(cue.start_ms, '.')} --> {_timestamp(cue.end_ms, '.')}\n{voice}{text}\n")
    return "\n".join(blocks)


def make_cues(segments: Iterable[Segment]) -> list[Cue]:
    """Return one cue a segment, or several where it is long and its words' times are known. None is empty."""
    return [cue for segment in segments for cue in _cues_of(segment) if cue.text]


def _cues_of(segment: Segment) -> list[Cue]:
    short = len(segment.text) <= CUE_CHARACTERS and segment.end_s - segment.start_s <= CUE_S
    if short or not segment.words:
        return [_cue(segment.start_s, segment.end_s, segment.text, segment.speaker)]
    return [
        _cue(words[0].start_s, words[-1].end_s, " ".join(word.text for word in words), segment.speaker)
        for words in _screens(segment.words)
    ]


def _screens(words: Sequence[Word]) -> list[list[Word]]:
    """Fill screens with words, beginning a new one before it would be too long or too slow."""
    screens: list[list[Word]] = []
    for word in words:
        if not screens or not _fits([*screens[-1], word]):
            screens.append([])
        screens[-1].append(word)
    return screens


def _fits(words: Sequence[Word]) -> bool:
    characters = sum(len(word.text) + 1 for word in words) - 1
    return characters <= CUE_CHARACTERS and words[-1].end_s - words[0].start_s <= CUE_S


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
        text = " ".join(" ".join(segment.text.split()) for segment in segments)
        turns.append((speaker, segments[0].start_s, text))
    return turns


def _wrapped(text: str) -> str:
    """Break at spaces into lines of about equal length; languages without spaces stay on one line."""
    if len(text) <= LINE_CHARACTERS:
        return text
    lines = -(-len(text) // LINE_CHARACTERS)
    width = max(-(-len(text) // lines) + 6, max(map(len, text.split())))
    return "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))


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
