"""Windows, decoded one by one, to one transcript of the recording."""

from collections.abc import Iterable
from dataclasses import replace

from pipelines.domain.transcript import Segment, Transcript, WindowTranscript, Word


def stitch_segments(windows: Iterable[WindowTranscript], *, language: str, duration_s: float) -> Transcript:
    """Join the segments of all windows: sorted by time, clipped to the recording, none empty, numbered from 0."""
    segments = sorted(
        (segment for window in windows for segment in window.segments if segment.text.strip()),
        key=lambda segment: (segment.start_s, segment.end_s),
    )
    kept = [_clipped(segment, duration_s) for segment in segments if segment.start_s < duration_s]
    return Transcript(
        language=language,
        duration_s=duration_s,
        segments=tuple(replace(segment, id=number) for number, segment in enumerate(kept)),
    )


def mean_confidence(transcript: Transcript) -> float | None:
    """Return the duration-weighted mean of the segments' confidences, 0–1; None where no segment has one."""
    rated = [
        (segment.confidence, segment.end_s - segment.start_s)
        for segment in transcript.segments
        if segment.confidence is not None
    ]
    total_s = sum(duration_s for _, duration_s in rated)
    return sum(confidence * duration_s for confidence, duration_s in rated) / total_s if total_s > 0 else None


def _clipped(segment: Segment, duration_s: float) -> Segment:
    words = tuple(_clipped_word(word, duration_s) for word in segment.words if word.start_s < duration_s)
    return replace(segment, start_s=max(0.0, segment.start_s), end_s=min(segment.end_s, duration_s), words=words)


def _clipped_word(word: Word, duration_s: float) -> Word:
    return replace(word, start_s=max(0.0, word.start_s), end_s=min(word.end_s, duration_s))
