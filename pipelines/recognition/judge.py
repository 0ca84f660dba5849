"""Does a decoded window look wrong, which speech has no text, and what is left of a loop?"""

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum

from pipelines.domain.audio import TimeSpan, WindowingOptions
from pipelines.domain.transcript import DroppedSpan, Segment, TranscriptionOptions, WindowTranscript

MIN_SPEECH_S = 0.5
"""Less detected speech than this may well have no words."""
_MIN_LOOP = 4
"""So often in a row, in a text that is judged to repeat itself, is a loop and no habit of speech."""
_LONGEST_LOOP = 60
"""Words (characters, where words have no spaces between them) of the longest loop that is looked for."""


class Verdict(StrEnum):
    """What to do with a decoded window."""

    GOOD = "good"
    """Keep its text."""
    NO_SPEECH = "no_speech"
    """The model heard none and was guessing: keep no text."""
    REPETITION = "repetition"
    """It repeats itself: decode again."""
    UNLIKELY = "unlikely"
    """The model was guessing: decode again."""
    NO_TEXT = "no_text"
    """There was speech, and no text came: decode again."""

    @property
    def suspicious(self) -> bool:
        """Another decoding may be better."""
        return self in (Verdict.REPETITION, Verdict.UNLIKELY, Verdict.NO_TEXT)


def judge_window(
    text: str,
    *,
    avg_logprob: float,
    no_speech_prob: float,
    speech: Sequence[TimeSpan],
    options: TranscriptionOptions,
) -> Verdict:
    """Judge one decoding of a window in which the detector heard ``speech``, and that gave ``text``."""
    guessing = avg_logprob < options.log_prob_threshold
    unheard = no_speech_prob > options.no_speech_threshold
    looping = compression_ratio(text) > options.compression_ratio_threshold  # of which a model is always sure
    if unheard and (guessing or looping or not text.strip()):
        return Verdict.NO_SPEECH
    if looping:
        return Verdict.REPETITION
    if guessing:
        return Verdict.UNLIKELY
    if not text.strip() and any(span.duration_s >= MIN_SPEECH_S for span in speech):
        return Verdict.NO_TEXT
    return Verdict.GOOD


def compression_ratio(text: str) -> float:
    """Characters of the text ÷ bytes after zlib: about 1 for a sentence, above 2.4 for a loop; 0 for no text.

    Each distinct character counts as one byte, whatever UTF-8 needs for it: Whisper's own measure, in bytes, takes a
    Hindi, Tamil or Georgian sentence for a loop. In Latin script both are the same.
    """
    numbers = {character: number % 256 for number, character in enumerate(dict.fromkeys(text))}
    encoded = bytes(numbers[character] for character in text)
    return len(encoded) / len(zlib.compress(encoded)) if encoded else 0.0


def collapse_loops(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Say once what is said at least four times in a row: whole segments, and words within a segment."""
    kept = _without_loops([segment.text for segment in segments])
    return tuple(_collapsed(segments[place]) for place in kept)


def _collapsed(segment: Segment) -> Segment:
    pieces = re.findall(r"\s*\S+", segment.text)
    if len(segment.text) > 20 * len(pieces):  # no language has words of 20 letters: it writes no spaces
        pieces = list(segment.text)
    kept = _without_loops([piece.strip() for piece in pieces])
    if len(kept) == len(pieces):
        return segment
    words = [segment.words[place] for place in _without_loops([word.text for word in segment.words])]
    text = "".join(pieces[place] for place in kept).strip()
    return replace(segment, text=text, words=tuple(words), end_s=words[-1].end_s if words else segment.end_s)


def _without_loops(items: Sequence[str]) -> list[int]:
    """Return the places that are left when each loop is cut to its first round."""
    kept: list[int] = []
    place = 0
    while place < len(items):
        length, rounds = _loop_at(items, place)
        kept += range(place, place + length)
        place += length * rounds
    return kept


def _loop_at(items: Sequence[str], place: int) -> tuple[int, int]:
    """Return the length of the shortest loop that begins here, and its rounds; (1, 1) where there is none."""
    for length in range(1, min(_LONGEST_LOOP, (len(items) - place) // _MIN_LOOP) + 1):
        first = items[place : place + length]
        rounds = 1
        while items[place + rounds * length : place + (rounds + 1) * length] == first:
            rounds += 1
        if rounds >= _MIN_LOOP:
            return length, rounds
    return 1, 1


def uncovered_speech(speech: Iterable[TimeSpan], segments: Iterable[Segment]) -> list[TimeSpan]:
    """Return the stretches of detected speech in which no segment lies; pieces of one span count as one."""
    texts = sorted((segment.start_s, segment.end_s) for segment in segments)
    return [hole for span in _whole_spans(speech) for hole in _holes(span, texts)]


def find_dropped_speech(
    window: WindowTranscript,
    speech: Sequence[TimeSpan],
    options: TranscriptionOptions,
    windowing: WindowingOptions | None = None,
) -> tuple[DroppedSpan, ...]:
    """Return the stretches of one window's speech, at least 0.5 s long, that have no word, and why.

    ``speech`` is what the detector heard there, with the padding and the pauses that ``windowing`` lets it include:
    these are taken for silence. Windows do not overlap, so that no other window's text can lie in it.
    """
    windowing = windowing or WindowingOptions()
    reason = _reason(window, options)
    texts = sorted((part.start_s, part.end_s) for segment in window.segments for part in (segment.words or (segment,)))
    return tuple(
        DroppedSpan(start_s=hole.start_s, end_s=hole.end_s, reason=reason)
        for span in _whole_spans(speech)
        for hole in _holes(span, texts)
        if hole.duration_s - _silence_s(hole, span, windowing) >= MIN_SPEECH_S - 1e-9
    )


def _silence_s(hole: TimeSpan, span: TimeSpan, windowing: WindowingOptions) -> float:
    """Return how much of a hole the detector may have taken for speech only because speech is near."""
    if hole == span:
        return 0.0
    at_edge = hole.start_s == span.start_s or hole.end_s == span.end_s
    return (windowing.speech_pad_ms if at_edge else windowing.min_silence_duration_ms) / 1000


def _whole_spans(speech: Iterable[TimeSpan]) -> list[TimeSpan]:
    whole: list[TimeSpan] = []
    for span in sorted(speech, key=lambda span: span.start_s):
        if whole and span.start_s <= whole[-1].end_s:
            whole[-1] = TimeSpan(start_s=whole[-1].start_s, end_s=max(span.end_s, whole[-1].end_s))
        else:
            whole.append(span)
    return whole


def _holes(span: TimeSpan, texts: Iterable[tuple[float, float]]) -> list[TimeSpan]:
    holes: list[TimeSpan] = []
    reached_s = span.start_s
    for start_s, end_s in texts:
        if end_s <= reached_s or start_s >= span.end_s:
            continue
        if start_s > reached_s:
            holes.append(TimeSpan(start_s=reached_s, end_s=start_s))
        reached_s = end_s
    if reached_s < span.end_s:
        holes.append(TimeSpan(start_s=reached_s, end_s=span.end_s))
    return holes


def _reason(window: WindowTranscript, options: TranscriptionOptions) -> str:
    if window.segments:
        return "no_text"
    if window.compression_ratio > options.compression_ratio_threshold:
        return "repetition"
    return "no_speech" if window.no_speech_prob > options.no_speech_threshold else "no_text"
