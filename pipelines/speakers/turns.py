"""From scores and labels to turns: spans of speech, stretches of one voice, windows on them. Times are in samples."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.domain.speakers import Diarization, SpeakerTurn

Span = tuple[int, int]
"""First sample, sample after the last."""
WINDOW_SAMPLES = 25_600
"""1.6 s: what the speaker encoder was trained on."""
STEP_SAMPLES = 6_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is embedded, and the part of its stretch that gets the label. ``stretch`` numbers the stretch."""

    heard: Span
    told: Span
    stretch: int


def active_spans(scores: NDArray[np.float32], frame: int, on: float, off: float, gap: int, shortest: int) -> list[Span]:
    """Return where ``scores`` rises above ``on`` until it falls below ``off`` (hysteresis), ``frame`` samples a score.

    Pauses shorter than ``gap`` samples are bridged, then spans shorter than ``shortest`` are dropped.
    """
    states = np.where(scores > on, 1, np.where(scores < off, 0, -1)).astype(np.int8)
    known = np.maximum.accumulate(np.where(states >= 0, np.arange(len(states)), -1))
    active = np.where(known >= 0, states[np.maximum(known, 0)], 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active, [0]])))
    spans = [(int(start) * frame, int(end) * frame) for start, end in edges.reshape(-1, 2)]
    return [(start, end) for start, end in bridge(spans, gap) if end - start >= shortest]


def bridge(spans: Iterable[Span], gap: int) -> list[Span]:
    """Join sorted spans that overlap or are less than ``gap`` samples apart."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start - joined[-1][1] < max(gap, 1):
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def peaks(scores: NDArray[np.float32], frame: int, least: float) -> list[int]:
    """Return the middles of the runs above ``least``, in samples."""
    return [(start + end) // 2 for start, end in active_spans(scores, frame, least, least, 0, 1)]


def cut_at(spans: Sequence[Span], places: Sequence[int], shortest: int) -> list[Span]:
    """Cut spans at ``places`` (sorted), where both parts are at least ``shortest`` samples long."""
    pieces: list[Span] = []
    for start, end in spans:
        for place in places:
            if start + shortest <= place <= end - shortest:
                pieces.append((start, place))
                start = place
        pieces.append((start, end))
    return pieces


def clipped(span: Span, shift: int, within: Span) -> Span | None:
    """Return the part of a span, moved by ``shift``, that lies within another; None where there is none."""
    start, end = max(span[0] + shift, within[0]), min(span[1] + shift, within[1])
    return (start, end) if start < end else None


def lay_windows(stretches: Sequence[Span]) -> list[Window]:
    """Lay windows of 1.6 s every 0.4 s over each stretch; a shorter stretch is one window.

    Each sample of a stretch is told by the window whose middle is nearest.
    """
    windows: list[Window] = []
    for number, (start, end) in enumerate(stretches):
        count = max(1, 1 + round((end - start - WINDOW_SAMPLES) / STEP_SAMPLES))
        last = max(start, end - WINDOW_SAMPLES)
        firsts = [round(first) for first in np.linspace(start, last, count)] if last > start else [start]
        heard = [(first, min(end, first + WINDOW_SAMPLES)) for first in firsts]
        middles = [(first + after) // 2 for first, after in heard]
        borders = [start, *((before + after) // 2 for before, after in pairwise(middles)), end]
        windows += [
            Window(heard=span, told=told, stretch=number) for span, told in zip(heard, pairwise(borders), strict=True)
        ]
    return windows


def tell(windows: Sequence[Window], labels: Sequence[int], overlaps: Sequence[Span]) -> Diarization:
    """Return who speaks when, in seconds, speakers named by first appearance.

    In ``overlaps`` the speaker who is nearest in time speaks as well (Otterson & Ostendorf 2007).
    """
    exclusive: list[tuple[int, int, int]] = []
    for window, label in zip(windows, labels, strict=True):
        start, end = window.told
        if exclusive and exclusive[-1][2] == label and exclusive[-1][1] == start:
            start = exclusive.pop()[0]
        exclusive.append((start, end, int(label)))
    heard = sorted(_joined([*exclusive, *_second_speakers(exclusive, overlaps)]))
    names = {label: f"SPEAKER_{n:02d}" for n, label in enumerate(dict.fromkeys(label for _, _, label in heard))}
    return Diarization(turns=_named(heard, names), exclusive_turns=_named(exclusive, names))


def _second_speakers(
    exclusive: Sequence[tuple[int, int, int]], overlaps: Sequence[Span]
) -> Iterable[tuple[int, int, int]]:
    """Yield the parts of ``overlaps`` with the speaker, other than the one who has the word, who is nearest in time."""
    place = 0
    for start, end in overlaps:
        while place < len(exclusive) and exclusive[place][1] <= start:
            place += 1
        for turn in range(place, len(exclusive)):
            first, last = max(start, exclusive[turn][0]), min(end, exclusive[turn][1])
            if exclusive[turn][0] >= end:
                break
            other = _nearest_other(exclusive, turn, first, last)
            if other is not None:
                yield first, last, other


def _nearest_other(exclusive: Sequence[tuple[int, int, int]], turn: int, start: int, end: int) -> int | None:
    own = exclusive[turn][2]
    before = next((t for t in reversed(exclusive[:turn]) if t[2] != own), None)
    after = next((t for t in exclusive[turn + 1 :] if t[2] != own), None)
    distances = [(start - before[1], before[2])] if before else []
    distances += [(after[0] - end, after[2])] if after else []
    return min(distances)[1] if distances else None


def _joined(turns: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    by_speaker: dict[int, list[Span]] = {}
    for start, end, label in sorted(turns):
        by_speaker.setdefault(label, []).append((start, end))
    return [(start, end, label) for label, spans in by_speaker.items() for start, end in bridge(spans, 1)]


def _named(turns: Sequence[tuple[int, int, int]], names: dict[int, str]) -> tuple[SpeakerTurn, ...]:
    return tuple(
        SpeakerTurn(
            start_s=round(start / SAMPLE_RATE_HZ, 3), end_s=round(end / SAMPLE_RATE_HZ, 3), speaker=names[label]
        )
        for start, end, label in turns
    )
