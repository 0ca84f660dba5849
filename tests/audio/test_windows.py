from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.audio.windows import MAX_PAUSE_S, WindowCutter
from pipelines.domain.audio import SAMPLE_RATE_HZ, TimeSpan, Window, WindowingOptions
from pipelines.domain.samples import Samples
from pipelines.fakes.models import FakeSpeechDetector

BLOCK_S = 4.0


def audio(duration_s: float, speech: Iterable[tuple[float, float]]) -> Samples:
    """Speech is loud, the rest is silent."""
    samples = np.zeros(round(duration_s * SAMPLE_RATE_HZ), dtype=np.int16)
    for start_s, end_s in speech:
        samples[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)] = 1000
    return samples


def cut(samples: Samples, *, block_s: float = BLOCK_S, max_window_s: float = 30.0) -> list[Window]:
    cutter, detector = WindowCutter(WindowingOptions(max_window_s=max_window_s)), FakeSpeechDetector()
    step = round(block_s * SAMPLE_RATE_HZ)
    windows: list[Window] = []
    for start in range(0, len(samples), step):
        block = samples[start : start + step]
        windows += cutter.push(block, detector.push(block))
    return windows + cutter.finish(detector.finish())


def times(windows: Sequence[Window]) -> list[tuple[float, float]]:
    return [(round(window.start_s, 2), round(window.end_s, 2)) for window in windows]


@pytest.mark.parametrize(
    ("speech", "expected"),
    [
        pytest.param([], [], id="silence gives no window"),
        pytest.param([(1, 3)], [(1, 3)], id="one span is one window"),
        pytest.param([(1, 3), (5, 8), (12, 20)], [(1, 20)], id="neighbours share a window"),
        pytest.param([(1, 3), (3 + MAX_PAUSE_S + 1, 12)], [(1, 3), (9, 12)], id="a long pause begins a new window"),
        pytest.param([(0, 20), (21, 29), (30, 35)], [(0, 29), (30, 35)], id="what does not fit goes to the next"),
        pytest.param([(0, 20), (21, 45)], [(0, 20), (21, 45)], id="cut at silence, not in the middle of a span"),
        pytest.param([(2, 32)], [(2, 32)], id="thirty seconds fit"),
        pytest.param([(50, 51)], [(50, 51)], id="silence before speech is no window"),
    ],
)
def test_windows_are_cut_at_silence(speech: list[tuple[float, float]], expected: list[tuple[float, float]]) -> None:
    assert times(cut(audio(60, speech))) == expected


def test_samples_are_those_of_the_window_on_the_recording_s_time_line() -> None:
    samples = audio(40, [(1, 3), (5, 8)])
    samples[5 * SAMPLE_RATE_HZ] = 777
    (window,) = cut(samples)
    assert np.array_equal(np.asarray(window.samples), samples[1 * SAMPLE_RATE_HZ : 8 * SAMPLE_RATE_HZ])
    assert window.speech == (TimeSpan(start_s=1.0, end_s=3.0), TimeSpan(start_s=5.0, end_s=8.0))


def test_speech_without_a_pause_is_cut_where_it_is_quietest() -> None:
    samples = audio(50, [(0, 50)])
    samples[round(25.0 * SAMPLE_RATE_HZ) : round(25.2 * SAMPLE_RATE_HZ)] = 10
    windows = cut(samples)
    assert windows[0].start_s == 0
    assert 25.0 <= windows[0].end_s <= 25.2
    assert windows[1].start_s == windows[0].end_s
    assert windows[-1].end_s == 50


def test_speech_is_cut_in_a_longer_pause_rather_than_in_a_quieter_one() -> None:
    samples = audio(50, [(0, 50)])
    samples[round(22.0 * SAMPLE_RATE_HZ) : round(22.4 * SAMPLE_RATE_HZ)] = 20
    samples[round(27.0 * SAMPLE_RATE_HZ) : round(27.2 * SAMPLE_RATE_HZ)] = 10
    assert cut(samples)[0].end_s == pytest.approx(22.2, abs=0.02)


def test_an_hour_without_a_pause_needs_no_more_memory_than_a_minute() -> None:
    cutter, detector = WindowCutter(WindowingOptions()), FakeSpeechDetector()
    block = np.full(round(BLOCK_S * SAMPLE_RATE_HZ), 1000, dtype=np.int16)
    largest = 0
    for _ in range(900):
        windows = cutter.push(block, detector.push(block))
        largest = max(largest, cutter.held_samples)
        assert all(window.end_s - window.start_s <= 30 for window in windows)
    assert largest < 60 * SAMPLE_RATE_HZ


spans_of_speech = st.lists(st.tuples(st.floats(0.1, 8.0), st.floats(0.2, 45.0)), max_size=8)


@settings(max_examples=25, deadline=None)
@given(spans_of_speech, st.sampled_from([12.0, 30.0]))
def test_windows_hold_all_speech_once_in_order_and_never_too_long(
    gaps_and_lengths: list[tuple[float, float]], max_window_s: float
) -> None:
    speech, at_s = [], 0.0
    for gap_s, length_s in gaps_and_lengths:
        speech.append((at_s + gap_s, at_s + gap_s + length_s))
        at_s += gap_s + length_s
    samples = audio(at_s + 2, speech)
    windows = cut(samples, max_window_s=max_window_s)
    assert [window.index for window in windows] == list(range(len(windows)))
    assert all(window.end_s - window.start_s <= max_window_s + 1e-9 for window in windows)
    assert all(before.end_s <= after.start_s for before, after in pairwise(windows))
    heard = np.zeros(len(samples), dtype=bool)
    for window in windows:
        heard[round(window.start_s * SAMPLE_RATE_HZ) : round(window.end_s * SAMPLE_RATE_HZ)] = True
        assert len(np.asarray(window.samples)) == round((window.end_s - window.start_s) * SAMPLE_RATE_HZ)
    assert not (samples[~heard] != 0).any()


@settings(max_examples=10, deadline=None)
@given(spans_of_speech, st.sampled_from([0.1, 1.0, 3.7]))
def test_the_cut_does_not_depend_on_the_size_of_the_blocks(
    gaps_and_lengths: list[tuple[float, float]], block_s: float
) -> None:
    speech, at_s = [], 0.0
    for gap_s, length_s in gaps_and_lengths:
        speech.append((at_s + gap_s, at_s + gap_s + length_s))
        at_s += gap_s + length_s
    samples = audio(at_s + 2, speech)
    assert times(cut(samples, block_s=block_s)) == times(cut(samples))
