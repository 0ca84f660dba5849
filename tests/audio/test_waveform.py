"""Peaks: as many as a screen can show, of any length, in constant memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audio.waveform import PeakMeter


def measured(samples: np.ndarray, blocks: list[int], most_peaks: int) -> tuple[float, tuple[int, ...]]:
    meter, at = PeakMeter(most_peaks), 0
    for size in blocks:
        meter.push(samples[at : at + size])
        at += size
    meter.push(samples[at:])
    waveform = meter.finish()
    return waveform.duration_s, waveform.peaks


@given(st.lists(st.integers(min_value=0, max_value=3_000), max_size=20), st.integers(min_value=0, max_value=40_000))
def test_blocks_do_not_matter(blocks: list[int], count: int) -> None:
    samples = np.random.default_rng(count).integers(-32_768, 32_767, count, dtype=np.int16)
    assert measured(samples, blocks, 64) == measured(samples, [], 64)


@pytest.mark.parametrize("count", [0, 1, 159, 160, 161, 16_000, 1_000_001])
def test_peaks_are_those_of_equal_stretches(count: int) -> None:
    samples = np.random.default_rng(1).integers(-9_000, 9_000, count, dtype=np.int16)
    duration_s, peaks = measured(samples, [], 64)
    assert duration_s == count / 16_000
    stretch = 160
    while count // stretch > 64:
        stretch *= 2
    padded = np.pad(np.abs(samples.astype(np.int32)), (0, -count % stretch))
    loudest = padded.reshape(-1, stretch).max(axis=1) if count else np.zeros(0)
    assert list(peaks) == np.ceil(loudest * 100 / 32_768).astype(int).tolist()


def test_the_loudest_sample_there_can_be_is_all_of_full_scale() -> None:
    assert measured(np.array([-32_768], dtype=np.int16), [], 64) == (1 / 16_000, (100,))


def test_ten_hours_are_eight_thousand_peaks_and_no_more_memory() -> None:
    meter, block = PeakMeter(), np.ones(16_000 * 60, dtype=np.int16)
    for _ in range(600):
        meter.push(block)
    waveform = meter.finish()
    assert (waveform.duration_s, set(waveform.peaks)) == (36_000.0, {1})
    assert 4096 <= len(waveform.peaks) <= 8193
    assert len(meter._peaks) + len(meter._rest) < 100_000
