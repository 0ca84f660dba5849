import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.domain.live import AudioFormat
from pipelines.errors import InvalidRequest
from pipelines.live.sound import SoundBuffer, SoundReader

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop  # the independent decoder, until Python 3.13 leaves it out


def test_g711_means_what_the_standard_says() -> None:
    data = bytes(range(256))
    at_8k = {"rate_hz": SAMPLE_RATE_HZ}  # no resampling: byte by byte
    ulaw = SoundReader(AudioFormat(codec="ulaw", **at_8k)).read(data)
    alaw = SoundReader(AudioFormat(codec="alaw", **at_8k)).read(data)
    assert ulaw.tobytes() == audioop.ulaw2lin(data, 2)
    assert alaw.tobytes() == audioop.alaw2lin(data, 2)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000])
def test_every_rate_becomes_the_same_tone(rate_hz: int) -> None:
    time_s = np.arange(rate_hz * 2) / rate_hz
    tone = (np.sin(2 * np.pi * 440 * time_s) * 10_000).astype("<i2").tobytes()
    reader = SoundReader(AudioFormat(rate_hz=rate_hz))
    piece = rate_hz // 50 * 2
    samples = np.concatenate(
        [*(reader.read(tone[at : at + piece]) for at in range(0, len(tone), piece)), reader.finish()]
    )
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE_HZ, abs=40)
    middle = samples[8_000:24_000].astype(float)
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 440
    assert np.abs(middle).max() == pytest.approx(10_000, rel=0.02)


@given(st.binary(max_size=400), st.lists(st.integers(0, 50), max_size=20))
def test_bytes_may_be_split_anywhere(data: bytes, lengths: list[int]) -> None:
    whole = SoundReader(AudioFormat(rate_hz=SAMPLE_RATE_HZ)).read(data)
    reader, parts, at = SoundReader(AudioFormat(rate_hz=SAMPLE_RATE_HZ)), [], 0
    for length in [*lengths, len(data)]:
        parts.append(reader.read(data[at : at + length]))
        at += length
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("rate_hz", [0, -1, 7_999, 10**9])
def test_a_rate_that_is_none_is_refused(rate_hz: int) -> None:
    with pytest.raises(InvalidRequest):
        SoundReader(AudioFormat(rate_hz=rate_hz))


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 3_000)), max_size=40))
def test_the_buffer_holds_what_was_not_forgotten(steps: list[tuple[int, int]]) -> None:
    buffer, all_samples = SoundBuffer(), np.zeros(0, dtype=np.int16)
    for length, forgotten in steps:
        block = np.arange(len(all_samples), len(all_samples) + length).astype(np.int16)
        buffer.append(block)
        all_samples = np.concatenate([all_samples, block])
        buffer.forget_before(buffer.start + forgotten)
        assert buffer.end == len(all_samples)
        assert np.array_equal(buffer.slice(0, buffer.end), all_samples[buffer.start :])
