"""From what the model wrote in one window to segments on the recording's time line.

A model's times are rough where it paused; the detector knows where speech is. So times are clipped to the window and to
the (padded) speech that a segment or word touches.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipelines.domain.audio import TimeSpan, Window
from pipelines.domain.transcript import Segment, Word

SENTENCE_ENDS = ".?!。？！"
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
    segments: list[Segment] = []
    earliest_s = window.start_s
    for piece in pieces:
        text = " ".join(piece.text.split())
        if not text:
            continue
        words = tuple(clip_words(piece.words, window))
        span = clip_to_speech(TimeSpan(start_s=piece.start_s, end_s=piece.end_s), window)
        if words:
            span = TimeSpan(start_s=words[0].start_s, end_s=words[-1].end_s)
        start_s = min(max(span.start_s, earliest_s), window.end_s - _SHORTEST_S)
        end_s = min(max(span.end_s, start_s + _SHORTEST_S), window.end_s)
        segments.append(
            Segment(
                id=len(segments),
                start_s=round(start_s, 3),
                end_s=round(end_s, 3),
                text=text,
                confidence=confidence,
                words=words,
            )
        )
        earliest_s = end_s
    return tuple(segments)


def clip_to_speech(span: TimeSpan, window: Window) -> TimeSpan:
    """Cut silence off both ends of a span; a span in which no speech was heard is only clipped to the window."""
    touched = [speech for speech in window.speech if speech.overlap_s(span) > 0] or [
        TimeSpan(start_s=window.start_s, end_s=window.end_s)
    ]
    start_s = min(max(span.start_s, touched[0].start_s), window.end_s)
    return TimeSpan(start_s=start_s, end_s=max(start_s, min(span.end_s, touched[-1].end_s)))


def clip_words(words: Sequence[Word], window: Window) -> Iterable[Word]:
    """Yield words in order, each inside the speech it touches most, none empty, none before the one before."""
    earliest_s = window.start_s
    for word in words:
        span = _inside_one_speech_span(TimeSpan(start_s=word.start_s, end_s=word.end_s), window)
        start_s = min(max(span.start_s, earliest_s), window.end_s - _SHORTEST_S)
        end_s = min(max(span.end_s, start_s + _SHORTEST_S), window.end_s)
        yield replace(word, start_s=round(start_s, 3), end_s=round(end_s, 3))
        earliest_s = end_s


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
    return word.text[-1:] in SENTENCE_ENDS or following.start_s - word.end_s > MAX_PAUSE_S


def _inside_one_speech_span(span: TimeSpan, window: Window) -> TimeSpan:
    """A word does not cross a pause: keep the part that lies in the speech span it overlaps most."""
    best = max(window.speech, key=span.overlap_s, default=None)
    if best is None or best.overlap_s(span) <= 0:
        return span
    return TimeSpan(start_s=max(span.start_s, best.start_s), end_s=min(span.end_s, best.end_s))
