"""Words and segments in time, and the windows of a recording joined into one transcript."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipelines.domain.audio import TimeSpan, Window
from pipelines.domain.transcript import Segment, Transcript, TranscriptionReport, WindowTranscript, Word
from pipelines.domain.writing import ends_sentence


def stitch_segments(windows: Iterable[WindowTranscript], *, language: str, duration_s: float) -> Transcript:
    """Join the segments of all windows: sorted by time, clipped to the recording, none empty, numbered from 0.

    A segment says its language where that is not ``language``.
    """
    segments = sorted(
        (
            replace(segment, language=None if window.language == language else window.language)
            for window in windows
            for segment in window.segments
            if segment.text.strip()
        ),
        key=lambda segment: (segment.start_s, segment.end_s),
    )
    kept = [_clipped(segment, duration_s) for segment in segments if segment.start_s < duration_s]
    return Transcript(
        language=language,
        duration_s=duration_s,
        segments=tuple(replace(segment, id=number) for number, segment in enumerate(kept)),
    )


def merge_channels(reports: Sequence[TranscriptionReport]) -> TranscriptionReport:
    """Return one report of channels that hold a speaker each, named by first appearance, merged on the time line.

    The language is that of the channel in which most was said; segments of another say so.
    """
    spoken = [report for report in reports if report.transcript.segments]
    spoken.sort(key=lambda report: report.transcript.segments[0].start_s)
    most = max(reports, key=lambda report: report.speech_s)
    language = most.transcript.language
    segments = sorted(
        (
            _said_by(f"SPEAKER_{place:02d}", segment, report.transcript.language, language)
            for place, report in enumerate(spoken)
            for segment in report.transcript.segments
        ),
        key=lambda segment: (segment.start_s, segment.end_s),
    )
    transcript = replace(
        most.transcript,
        segments=tuple(replace(segment, id=number) for number, segment in enumerate(segments)),
        duration_s=max(report.transcript.duration_s for report in reports),
    )
    dropped = (span for report in reports for span in report.dropped_spans)
    return TranscriptionReport(
        transcript=transcript,
        speech_s=sum(report.speech_s for report in reports),
        windows=sum(report.windows for report in reports),
        redecoded_windows=sum(report.redecoded_windows for report in reports),
        dropped_spans=tuple(sorted(dropped, key=lambda span: span.start_s)),
        confidence=mean_confidence(transcript),
        warnings=tuple(dict.fromkeys(warning for report in reports for warning in report.warnings)),
    )


def _said_by(speaker: str, segment: Segment, own_language: str, language: str) -> Segment:
    spoken = segment.language or own_language
    return replace(
        segment,
        speaker=speaker,
        words=tuple(replace(word, speaker=speaker) for word in segment.words),
        language=None if spoken == language else spoken,
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


MAX_PAUSE_S = 0.8
"""A longer pause between two words begins a new segment."""
_SHORTEST_S = 0.02
"""No segment or word is shorter: one frame of the model's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedText:
    """A segment under construction; times on the recording's time line."""

    text: str
    start_s: float
    end_s: float
    words: tuple[Word, ...] = ()


def to_segments(pieces: Iterable[TimedText], window: Window, *, confidence: float) -> tuple[Segment, ...]:
    """Number the pieces that have text, with times inside the window and its speech, in order, none empty."""
    kept = [piece for piece in pieces if piece.text.strip()]
    words = iter(clip_words([word for piece in kept for word in piece.words], window))
    own_words = [tuple(next(words) for _ in piece.words) for piece in kept]
    spans = [
        TimeSpan(start_s=own[0].start_s, end_s=own[-1].end_s)
        if own
        else clip_to_speech(TimeSpan(start_s=piece.start_s, end_s=piece.end_s), window)
        for piece, own in zip(kept, own_words, strict=True)
    ]
    return tuple(
        Segment(
            id=number,
            start_s=span.start_s,
            end_s=span.end_s,
            text=" ".join(piece.text.split()),
            confidence=confidence,
            words=own,
        )
        for number, (piece, span, own) in enumerate(zip(kept, in_order(spans, window), own_words, strict=True))
    )


def in_order(spans: Sequence[TimeSpan], window: Window) -> list[TimeSpan]:
    """Move the ends of spans as little as it takes: each inside the window, none empty, none before the one before."""
    shortest_s = min(_SHORTEST_S, (window.end_s - window.start_s) / (len(spans) + 1))
    ordered: list[TimeSpan] = []
    earliest_s = window.start_s
    for span in spans:
        start_s = max(span.start_s, earliest_s)
        earliest_s = max(span.end_s, start_s + shortest_s)
        ordered.append(TimeSpan(start_s=start_s, end_s=earliest_s))
    latest_s = window.end_s
    for place in reversed(range(len(ordered))):
        end_s = min(ordered[place].end_s, latest_s)
        latest_s = min(ordered[place].start_s, end_s - shortest_s)
        ordered[place] = TimeSpan(start_s=round(latest_s, 3), end_s=round(end_s, 3))
    return ordered


def clip_to_speech(span: TimeSpan, window: Window) -> TimeSpan:
    """Cut silence off both ends of a span; a span in which no speech was heard is only clipped to the window."""
    touched = [speech for speech in window.speech if speech.overlap_s(span) > 0] or [
        TimeSpan(start_s=window.start_s, end_s=window.end_s)
    ]
    start_s = min(max(span.start_s, touched[0].start_s), window.end_s)
    return TimeSpan(start_s=start_s, end_s=max(start_s, min(span.end_s, touched[-1].end_s)))


def clip_words(words: Sequence[Word], window: Window) -> list[Word]:
    """Return words in order, each inside the speech that it touches most, none empty, none before the one before."""
    spans = [_inside_one_speech_span(TimeSpan(start_s=word.start_s, end_s=word.end_s), window) for word in words]
    return [
        replace(word, start_s=span.start_s, end_s=span.end_s)
        for word, span in zip(words, in_order(spans, window), strict=True)
    ]


def split_words(words: Sequence[Word], written: Sequence[str]) -> list[TimedText]:
    """Group words into segments: a sentence ends one, and so does a pause.

    ``written`` holds the same words as the model wrote them, with the spaces that its language puts between them.
    """
    groups: list[list[int]] = []
    for position, word in enumerate(words):
        if not groups or _ends_segment(words[position - 1], word):
            groups.append([])
        groups[-1].append(position)
    return [
        TimedText(
            text="".join(written[position] for position in group),
            start_s=words[group[0]].start_s,
            end_s=words[group[-1]].end_s,
            words=tuple(words[position] for position in group),
        )
        for group in groups
    ]


def _ends_segment(word: Word, following: Word) -> bool:
    return ends_sentence(word.text) or following.start_s - word.end_s > MAX_PAUSE_S


def _inside_one_speech_span(span: TimeSpan, window: Window) -> TimeSpan:
    """A word does not cross a pause: keep the part that lies in the speech span it overlaps most."""
    best = max(window.speech, key=span.overlap_s, default=None)
    if best is None or best.overlap_s(span) <= 0:
        return span
    return TimeSpan(start_s=max(span.start_s, best.start_s), end_s=min(span.end_s, best.end_s))
