"""Does a decoded window look wrong, and which speech has no text?"""

import zlib
from collections.abc import Iterable, Sequence
from enum import StrEnum

from pipelines.domain.audio import TimeSpan
from pipelines.domain.transcript import DroppedSpan, Segment, TranscriptionOptions, WindowTranscript

MIN_SPEECH_S = 0.5
"""Less detected speech than this may well have no words."""
MIN_UNTRANSCRIBED_S = 3.0
"""Beside text, so much detected speech without any means that the model stopped early (spans are padded)."""


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
    segments: Sequence[Segment],
    options: TranscriptionOptions,
) -> Verdict:
    """Judge one decoding of a window in which the detector heard ``speech``, and that gave ``text`` in ``segments``."""
    guessing = avg_logprob < options.log_prob_threshold
    unheard = no_speech_prob > options.no_speech_threshold
    if unheard and (guessing or not text.strip()):
        return Verdict.NO_SPEECH
    if compression_ratio(text) > options.compression_ratio_threshold:
        return Verdict.REPETITION
    if guessing:
        return Verdict.UNLIKELY
    if longest_untranscribed_s(speech, segments) >= (MIN_UNTRANSCRIBED_S if text.strip() else MIN_SPEECH_S):
        return Verdict.NO_TEXT
    return Verdict.GOOD


def longest_untranscribed_s(speech: Iterable[TimeSpan], segments: Iterable[Segment]) -> float:
    """Return the longest stretch of detected speech, in seconds, in which no segment lies."""
    texts = sorted((segment.start_s, segment.end_s) for segment in segments)
    longest_s = 0.0
    for span in speech:
        reached_s = span.start_s
        for start_s, end_s in texts:
            if end_s > reached_s and start_s < span.end_s:
                longest_s = max(longest_s, start_s - reached_s)
                reached_s = end_s
        longest_s = max(longest_s, span.end_s - reached_s)
    return longest_s


def compression_ratio(text: str) -> float:
    """Bytes of the text ÷ bytes after zlib: about 1 for a sentence, above 2.4 for a loop; 0 for no text."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded)) if encoded else 0.0


MIN_DROPPED_S = 0.5


def find_dropped_speech(
    window: WindowTranscript, speech: Sequence[TimeSpan], options: TranscriptionOptions
) -> tuple[DroppedSpan, ...]:
    """Return the speech of one window, at least 0.5 s long, that no kept segment overlaps, and why.

    ``speech`` is what the detector heard there. Windows do not overlap, so that no other window's text can lie in it.
    """
    kept = [TimeSpan(start_s=segment.start_s, end_s=segment.end_s) for segment in window.segments]
    reason = _reason(window, options)
    return tuple(
        DroppedSpan(start_s=span.start_s, end_s=span.end_s, reason=reason)
        for span in speech
        if span.duration_s >= MIN_DROPPED_S and not any(span.overlap_s(segment) > 0 for segment in kept)
    )


def _reason(window: WindowTranscript, options: TranscriptionOptions) -> str:
    if window.segments:
        return "no_text"
    if window.compression_ratio > options.compression_ratio_threshold:
        return "repetition"
    return "no_speech" if window.no_speech_prob > options.no_speech_threshold else "no_text"
