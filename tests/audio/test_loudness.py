"""Loudness: right, bounded, and the same however the samples come."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.audio.loudness import LoudnessMeter
from pipelines.domain.audio import SAMPLE_RATE_HZ, Loudness
from pipelines.domain.samples import Samples


def in_blocks(samples: Samples, block: int, most_levels: int = 36_000) -> Loudness:
    meter = LoudnessMeter(most_levels)
    for start in range(0, len(samples), block):
        meter.push(samples[start : start + block])
    return meter.finish()


def sine(amplitude: float, duration_s: float) -> Samples:
    time = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (32767 * amplitude * np.sin(2 * np.pi * 440 * time)).astype(np.int16)


@pytest.mark.parametrize(("amplitude", "level"), [(1.0, -3), (0.1, -23), (0.001, -63), (0.0, -99)])
def test_levels_are_those_of_a_sine(amplitude: float, level: int) -> None:
    found = in_blocks(sine(amplitude, 1.0), 4000)
    assert (found.step_s, len(found.levels_dbfs)) == (0.1, 10)
    assert found.levels_dbfs == pytest.approx([level] * 10, abs=1)


@settings(deadline=None, max_examples=30)
@given(block=st.integers(1, 40_000), seconds=st.integers(0, 9))
def test_blocks_make_no_difference_and_levels_are_bounded(block: int, seconds: int) -> None:
    samples = np.random.default_rng(0).integers(-3000, 3000, seconds * SAMPLE_RATE_HZ + 123, dtype=np.int16)
    found = in_blocks(samples, max(block, 500), most_levels=20)
    assert found == in_blocks(samples, 16_000, most_levels=20)
    assert len(found.levels_dbfs) <= 21
    assert len(found.levels_dbfs) * found.step_s >= len(samples) / SAMPLE_RATE_HZ
