"""From scores and labels to turns, by tables. Times in tenths of a second where samples would be unreadable."""

import numpy as np
import pytest

from pipelines.domain.speakers import Diarization
from pipelines.speakers.turns import (
    STEP_SAMPLES,
    WINDOW_SAMPLES,
    Span,
    Window,
    active_spans,
    bridge,
    cut_at,
    lay_windows,
    peaks,
    tell,
)

SECOND = 16_000


@pytest.mark.parametrize(
    ("scores", "gap", "shortest", "spans"),
    [
        ([], 0, 1, []),
        ([0.0, 0.0], 0, 1, []),
        ([0.9, 0.9], 0, 1, [(0, 20)]),
        ([0.5, 0.7, 0.5, 0.3, 0.5], 0, 1, [(10, 30)]),  # between the two thresholds things stay as they were
        ([0.9, 0.1, 0.9], 0, 1, [(0, 10), (20, 30)]),
        ([0.9, 0.1, 0.9], 11, 1, [(0, 30)]),
        ([0.9, 0.1, 0.1, 0.9, 0.9], 11, 15, [(30, 50)]),
    ],
)
def test_speech_is_where_the_score_is_high(scores: list[float], gap: int, shortest: int, spans: list[Span]) -> None:
    assert active_spans(np.array(scores, dtype=np.float32), 10, 0.6, 0.4, gap, shortest) == spans


def test_a_change_is_in_the_middle_of_its_peak() -> None:
    assert peaks(np.array([0, 0, 0.4, 0.9, 0.8, 0.7, 0, 0, 1.0], dtype=np.float32), 10, 0.5) == [45, 85]


@pytest.mark.parametrize(
    ("spans", "gap", "joined"),
    [
        ([(0, 5), (5, 9)], 0, [(0, 9)]),
        ([(0, 5), (6, 9)], 0, [(0, 5), (6, 9)]),
        ([(0, 5), (6, 9)], 2, [(0, 9)]),
        ([(0, 9), (2, 4), (12, 13)], 2, [(0, 9), (12, 13)]),
    ],
)
def test_short_pauses_are_bridged(spans: list[Span], gap: int, joined: list[Span]) -> None:
    assert bridge(spans, gap) == joined


@pytest.mark.parametrize(
    ("places", "pieces"),
    [
        ([], [(0, 100), (200, 300)]),
        ([50, 250], [(0, 50), (50, 100), (200, 250), (250, 300)]),
        ([5, 95, 150], [(0, 100), (200, 300)]),
        ([40, 45], [(0, 40), (40, 100), (200, 300)]),
    ],
)
def test_stretches_are_cut_where_both_parts_are_long_enough(places: list[int], pieces: list[Span]) -> None:
    assert cut_at([(0, 100), (200, 300)], places, 10) == pieces


@pytest.mark.parametrize("length", [1, 800, WINDOW_SAMPLES, WINDOW_SAMPLES + 1, 2 * SECOND, 7 * SECOND + 13])
def test_windows_stay_in_their_stretch_and_tell_all_of_it(length: int) -> None:
    windows = lay_windows([(100, 100 + length)])
    assert [window.told[0] for window in windows] == [100, *(window.told[1] for window in windows[:-1])]
    assert windows[-1].told[1] == 100 + length
    assert all(100 <= window.heard[0] < window.heard[1] <= 100 + length for window in windows)
    assert {window.heard[1] - window.heard[0] for window in windows} == {min(length, WINDOW_SAMPLES)}
    steps = np.diff([window.heard[0] for window in windows])
    assert all(step <= 1.5 * STEP_SAMPLES for step in steps)


def told(*spans: Span) -> list[Window]:
    seconds = [(start * SECOND, end * SECOND) for start, end in spans]
    return [Window(heard=span, told=span, stretch=number) for number, span in enumerate(seconds)]


def shown(found: Diarization) -> tuple[list[tuple[str, float, float]], list[tuple[str, float, float]]]:
    everything, exclusive = (
        [(turn.speaker[-1], turn.start_s, turn.end_s) for turn in turns]
        for turns in (found.turns, found.exclusive_turns)
    )
    return everything, exclusive


def test_neighbours_of_one_voice_are_one_turn_and_voices_are_named_by_first_appearance() -> None:
    everything, exclusive = shown(tell(told((0, 1), (1, 2), (2, 3), (4, 5)), [7, 7, 3, 3], []))
    assert everything == exclusive == [("0", 0, 2), ("1", 2, 3), ("1", 4, 5)]


@pytest.mark.parametrize(
    ("overlap", "second"),
    [
        ((1, 2), [("0", 0, 4), ("1", 1, 2), ("1", 4, 6), ("2", 6, 8)]),
        ((3, 4), [("0", 0, 4), ("1", 3, 6), ("2", 6, 8)]),
        ((4, 5), [("0", 0, 5), ("1", 4, 6), ("2", 6, 8)]),
        ((5, 6), [("0", 0, 4), ("1", 4, 6), ("2", 5, 8)]),
        ((3, 5), [("0", 0, 5), ("1", 3, 6), ("2", 6, 8)]),
    ],
)
def test_in_an_overlap_the_nearest_other_speaker_speaks_as_well(
    overlap: Span, second: list[tuple[str, float, float]]
) -> None:
    windows = told((0, 4), (4, 6), (6, 8))
    everything, exclusive = shown(tell(windows, [0, 1, 2], [(overlap[0] * SECOND, overlap[1] * SECOND)]))
    assert everything == second
    assert exclusive == [("0", 0, 4), ("1", 4, 6), ("2", 6, 8)]


def test_nobody_overlaps_with_the_only_speaker() -> None:
    everything, _ = shown(tell(told((0, 4)), [0], [(SECOND, 2 * SECOND)]))
    assert everything == [("0", 0, 4)]
