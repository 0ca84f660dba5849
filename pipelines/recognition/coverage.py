"""The ledger of a recording: every millisecond is text, dropped speech, noise or silence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from pipelines.domain.audio import Loudness
from pipelines.domain.transcript import Transcript, TranscriptionReport

CoverageKind = Literal["text", "dropped", "noise", "silence"]
KINDS: tuple[CoverageKind, ...] = ("text", "dropped", "noise", "silence")
"""By precedence: a moment is the first of these that it can be."""
JOINED_PAUSE_MS = 500
"""Words with a shorter pause between them are one stretch of text."""
NOISE_DBFS = -50
"""Louder than this is noise, where nobody speaks."""
DAMAGED = "damaged"
_Interval = tuple[int, int]
"""Milliseconds: whole numbers, so that spans abut and sum up exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageSpan:
    """A stretch of a recording, and what became of it."""

    start_s: float
    end_s: float
    kind: CoverageKind
    reason: str | None = None
    """Of ``dropped``: that of the dropped span, or ``damaged`` where nothing could be decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What a transcript says of a recording, and what it leaves out: disjoint spans in order, without gaps."""

    duration_s: float
    spans: tuple[CoverageSpan, ...]

    @property
    def totals(self) -> dict[CoverageKind, float]:
        """Seconds of each kind; together the duration."""
        sums = dict.fromkeys(KINDS, 0)
        for span in self.spans:
            sums[span.kind] += _ms(span.end_s) - _ms(span.start_s)
        return {kind: sums[kind] / 1000 for kind in KINDS}


def account_for(report: TranscriptionReport, transcript: Transcript) -> Coverage:
    """Return the ledger of ``transcript``, which is the report's or a correction of it.

    Text is where words are, or segments where words have no times. Speech without a word counts as dropped as
    DroppedSpan says: from 0.5 s on, beyond the padding that the detector adds; the rest is what it sounds like.
    Raises ValueError where loudness was not kept.
    """
    if report.loudness is None:
        raise ValueError("loudness was not kept")
    duration = _ms(report.transcript.duration_s)
    damaged = [
        (warning.start_s, warning.end_s)
        for warning in report.warnings
        if warning.code == "audio_damaged" and warning.start_s is not None and warning.end_s is not None
    ]
    dropped = [(span.reason, span.start_s, span.end_s) for span in report.dropped_spans]
    dropped += [(DAMAGED, start_s, end_s) for start_s, end_s in damaged]
    layers: list[tuple[CoverageKind, str | None, list[_Interval]]] = [("text", None, _text(transcript))]
    for reason in sorted({reason for reason, _, _ in dropped}, key=lambda reason: (reason != DAMAGED, reason)):
        found = [(_ms(start_s), _ms(end_s)) for other, start_s, end_s in dropped if other == reason]
        layers.append(("dropped", reason, _joined(found, 0)))
    layers.append(("noise", None, _loud(report.loudness)))
    layers.append(("silence", None, [(0, duration)]))
    return Coverage(duration_s=duration / 1000, spans=_painted(duration, layers))


def _text(transcript: Transcript) -> list[_Interval]:
    parts = (part for segment in transcript.segments for part in (segment.words or (segment,)))
    return _joined(((_ms(part.start_s), _ms(part.end_s)) for part in parts), JOINED_PAUSE_MS)


def _loud(loudness: Loudness) -> list[_Interval]:
    step, reached, loud = _ms(loudness.step_s), 0, list[_Interval]()
    for is_loud, levels in groupby(loudness.levels_dbfs, lambda level: level > NOISE_DBFS):
        start, reached = reached, reached + step * sum(1 for _ in levels)
        if is_loud:
            loud.append((start, reached))
    return loud


def _joined(intervals: Iterable[_Interval], pause: int) -> list[_Interval]:
    """Sort intervals, and join those that overlap or lie less than ``pause`` apart."""
    joined: list[_Interval] = []
    for start, end in sorted(intervals):
        if joined and (start <= joined[-1][1] or start - joined[-1][1] < pause):
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _painted(
    duration: int, layers: Iterable[tuple[CoverageKind, str | None, Sequence[_Interval]]]
) -> tuple[CoverageSpan, ...]:
    free, painted = [(0, duration)] if duration else [], list[tuple[int, int, CoverageKind, str | None]]()
    for kind, reason, intervals in layers:
        taken, free = _split(free, intervals)
        painted += [(start, end, kind, reason) for start, end in taken]
    return tuple(
        CoverageSpan(start_s=start / 1000, end_s=end / 1000, kind=kind, reason=reason)
        for start, end, kind, reason in sorted(painted, key=lambda span: span[0])
    )


def _split(free: Sequence[_Interval], wanted: Sequence[_Interval]) -> tuple[list[_Interval], list[_Interval]]:
    """Return what of ``free`` lies in ``wanted``, and what does not; both sorted and disjoint."""
    taken, rest, place = list[_Interval](), list[_Interval](), 0
    for start, end in free:
        reached = start
        while place < len(wanted) and wanted[place][1] <= start:
            place += 1
        at = place
        while at < len(wanted) and wanted[at][0] < end:
            first, last = max(wanted[at][0], start), min(wanted[at][1], end)
            if first > reached:
                rest.append((reached, first))
            if last > first:
                taken.append((first, last))
            reached = max(reached, last)
            at += 1
        if reached < end:
            rest.append((reached, end))
    return taken, rest


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
