"""A transcript of another system: SubRip, WebVTT, JSON of this API, of OpenAI's, or SegLST.

Sources: W3C WebVTT (header, blocks, cue times, voices); OpenAI's API reference (``verbose_json``, ``diarized_json``).
SubRip has no standard: what its writers have in common is read, and markup in it is taken away.
"""

import html
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.domain.transcript import LANGUAGE_NAMES, Segment, Transcript, Word
from pipelines.errors import InvalidRequest

ReadFormat = Literal["srt", "vtt", "json"]
MAX_SEGMENTS = 100_000
LONGEST_S = 100 * 3600.0
UNKNOWN_LANGUAGE = "und"
"""ISO 639-2: nobody says what is spoken."""
_LONGEST_CUE = 20_000
_PARAM = "transcript"
_CLOCK = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?")
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s([^<>]+)>")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<\d[\d:.]*>|\{\\[^{}]*\}")
_LABEL = re.compile(r"(SPEAKER_\d{2,3}):\s+")
"""How this product's own SubRip says who speaks; other colons are a part of what was said."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTranscript:
    """What was read, and what it was read as."""

    transcript: Transcript
    form: ReadFormat


def read_transcript_file(text: str) -> ReadTranscript:
    """Read a transcript in whatever format it is in. Raises InvalidRequest, naming ``transcript``."""
    text = text.removeprefix("\ufeff")
    form: ReadFormat = "srt"
    if text.startswith("WEBVTT"):
        form = "vtt"
    elif text.lstrip().startswith(("{", "[")):
        form = "json"
    transcript = _READERS[form](text)
    if not transcript.segments:
        raise InvalidRequest("the transcript holds no words with times", _PARAM)
    return ReadTranscript(transcript=transcript, form=form)


def _read_cues(text: str) -> Transcript:
    """Read SubRip or WebVTT: blocks between empty lines; what has no times (notes, styles, regions) is no cue."""
    segments: list[Segment] = []
    for block in re.split(r"\n(?:[ \t]*\n)+", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip("\n").split("\n")
        place = next((place for place, line in enumerate(lines[:2]) if "-->" in line), None)
        if place is None:
            continue
        if len(block) > _LONGEST_CUE:
            raise InvalidRequest(f"a cue has at most {_LONGEST_CUE:,} characters", _PARAM)
        times = _TIMES.fullmatch(lines[place])
        if times is None:
            raise InvalidRequest(f"these are no times of a cue: {lines[place][:60]!r}", _PARAM)
        said, speaker = _spoken("\n".join(lines[place + 1 :]))
        segments.append(_segment(_seconds(times.groups()[:4]), _seconds(times.groups()[4:]), said, speaker))
    return _transcript(segments)


def _spoken(text: str) -> tuple[str, str | None]:
    voice = _VOICE.search(text)
    plain = html.unescape(_TAG.sub("", text))
    label = _LABEL.match(plain)
    if label is not None:
        return plain[label.end() :], label[1]
    return plain, html.unescape(voice[1]) if voice else None


def _seconds(clock: Iterable[str | None]) -> float:
    hours, minutes, seconds, fraction = (part or "0" for part in clock)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _read_json(text: str) -> Transcript:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest("the transcript is not JSON", _PARAM) from None
    head: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    entries = head.get("segments") if isinstance(given, Mapping) else given
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise InvalidRequest("the transcript has no list of segments", _PARAM)
    segments = [_from_entry(entry) for entry in entries]
    duration_s = _number(head, "duration_s", "duration") if {"duration_s", "duration"} & set(head) else 0.0
    return _transcript(segments, language=_language(head.get("language")), duration_s=duration_s)


def _from_entry(entry: Mapping[str, Any]) -> Segment:
    text = entry.get("text", entry.get("words"))
    speaker = entry.get("speaker")
    if not isinstance(text, str) or not isinstance(speaker, str | None):
        raise InvalidRequest("a segment has a text, and may have a speaker", _PARAM)
    start_s, end_s = _times(entry)
    words = entry.get("words")
    segment = _segment(start_s, end_s, text, speaker)
    confidence = entry.get("confidence")
    known = isinstance(confidence, int | float) and not isinstance(confidence, bool) and 0 <= confidence <= 1
    return replace(
        segment,
        confidence=float(confidence) if known and confidence is not None else None,
        words=tuple(map(_word, words)) if isinstance(words, list) else (),
    )


def _word(entry: Any) -> Word:
    text = entry.get("text", entry.get("word")) if isinstance(entry, Mapping) else None
    if not isinstance(text, str):
        raise InvalidRequest("a word has a text and times", _PARAM)
    start_s, end_s = _times(entry)
    _check_times(start_s, end_s)
    return Word(text=_clean(text), start_s=start_s, end_s=end_s)


def _times(entry: Mapping[str, Any]) -> tuple[float, float]:
    return _number(entry, "start_s", "start", "start_time"), _number(entry, "end_s", "end", "end_time")


def _number(entry: Mapping[str, Any], *names: str) -> float:
    value = next((entry[name] for name in names if name in entry), None)
    try:
        # SegLST and some servers write numbers as text.
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # None is refused below
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequest(f"{names[0]} must be a number of seconds", _PARAM)
    return number


def _language(given: Any) -> str:
    """Return a code for a code or an English name."""
    asked = given.strip().lower() if isinstance(given, str) else ""
    codes = {name.lower(): code for code, name in LANGUAGE_NAMES.items()}
    return asked if asked in LANGUAGE_NAMES else codes.get(asked, UNKNOWN_LANGUAGE)


def _segment(start_s: float, end_s: float, text: str, speaker: str | None) -> Segment:
    _check_times(start_s, end_s)
    name = _clean(speaker or "")[:100]
    return Segment(id=0, start_s=start_s, end_s=end_s, text=_clean(text), speaker=name or None)


def _check_times(start_s: float, end_s: float) -> None:
    if not 0 <= start_s <= end_s <= LONGEST_S:
        raise InvalidRequest("times go from 0 to 100 h, and nothing ends before it starts", _PARAM)


def _clean(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())


def _transcript(segments: list[Segment], *, language: str = UNKNOWN_LANGUAGE, duration_s: float = 0.0) -> Transcript:
    if len(segments) > MAX_SEGMENTS:
        raise InvalidRequest(f"a transcript has at most {MAX_SEGMENTS:,} segments", _PARAM)
    spoken = sorted((segment for segment in segments if segment.text), key=lambda segment: segment.start_s)
    end_s = max((segment.end_s for segment in spoken), default=0.0)
    return Transcript(
        language=language,
        duration_s=max(duration_s, end_s),
        segments=tuple(replace(segment, id=place) for place, segment in enumerate(spoken)),
    )


_READERS: Mapping[ReadFormat, Callable[[str], Transcript]] = {
    "srt": _read_cues,
    "vtt": _read_cues,
    "json": _read_json,
}
