"""Whether two records are the same passage, although a store has written one of them and read it back."""

from dataclasses import replace

from pipelines.domain.passage import Passage

_DIFFERENT_S = 0.001


def same_passage(one: Passage, other: Passage) -> bool:
    """Compare all fields; times that are less than a millisecond apart are the same.

    Not every store gives back the last digits of a number: Qdrant's engine rounds one float in ten, and of those below
    1e-7 it changes digits each time they are copied.
    """
    return one == other or (_timeless(one) == _timeless(other) and _close(_times(one), _times(other)))


def _timeless(passage: Passage) -> Passage:
    spans = tuple(replace(span, start_s=0.0, end_s=0.0) for span in passage.spans)
    return replace(passage, start_s=0.0, end_s=0.0, spans=spans)


def _times(passage: Passage) -> tuple[float, ...]:
    spoken = tuple(moment for span in passage.spans for moment in (span.start_s, span.end_s))
    return (passage.start_s, passage.end_s, *spoken)


def _close(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(first - second) < _DIFFERENT_S for first, second in zip(one, other, strict=True))
