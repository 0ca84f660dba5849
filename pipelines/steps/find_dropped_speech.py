"""Speech that was heard but not written: what a transcript does not say about itself."""

from collections.abc import Sequence

from pipelines.domain.audio import TimeSpan
from pipelines.domain.transcript import DroppedSpan, TranscriptionOptions, WindowTranscript

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
