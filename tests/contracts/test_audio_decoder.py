"""What every AudioDecoder owes, on whole recordings and on everything that people and attackers send instead."""

import contextlib
import io
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.audio.decode import PyavDecoder
from pipelines.domain.audio import SAMPLE_RATE_HZ, AudioWarning, Recording
from pipelines.domain.job import Upload
from pipelines.domain.samples import Samples
from pipelines.errors import (
    ArtifactStoreUnavailable,
    AudioDamaged,
    TooLarge,
    UnsupportedMedia,
)
from pipelines.fakes.scripted_speech import Utterance, write_samples, write_wav
from pipelines.ports.audio import AudioDecoder
from tests.audio.containers import CODECS, TONE_S, encoded, tone, video_without_audio, wav_header, with_hole

UPLOAD = Upload(filename="lecture.m4a", sha256="ab" * 32, bytes=123, artifact="acme/uploads/lecture")
DAY_S = 24 * 3600.0


@pytest.fixture(params=[PyavDecoder])
def decoder(request: pytest.FixtureRequest) -> AudioDecoder:
    made: AudioDecoder = request.param()
    return made


def decode(
    decoder: AudioDecoder, data: bytes, *, max_duration_s: float = DAY_S
) -> tuple[Samples, tuple[AudioWarning, ...]]:
    blocks = decoder.decode(io.BytesIO(data), max_duration_s=max_duration_s)
    try:
        parts = list(blocks)
        assert all(part.dtype == np.int16 and part.ndim == 1 and len(part) <= 5 * SAMPLE_RATE_HZ for part in parts)
        return np.concatenate([np.zeros(0, np.int16), *parts]), blocks.warnings
    finally:
        blocks.close()


def probe(decoder: AudioDecoder, data: bytes) -> Recording:
    return decoder.probe(io.BytesIO(data), UPLOAD)


@pytest.mark.parametrize("suffix", CODECS)
def test_every_container_gives_mono_16_khz(decoder: AudioDecoder, suffix: str) -> None:
    samples, warnings = decode(decoder, encoded(suffix))
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(TONE_S, abs=0.1)
    loudness = np.abs(samples[8000:-8000].astype(float)).mean()
    assert loudness == pytest.approx(8000 * 2 / np.pi, rel=0.1)
    assert warnings == ()


@pytest.mark.parametrize("suffix", CODECS)
def test_headers_are_read(decoder: AudioDecoder, suffix: str) -> None:
    recording = probe(decoder, encoded(suffix))
    assert recording.duration_s == pytest.approx(TONE_S, abs=0.1)
    assert (recording.channels, recording.sample_rate_hz) == (2, 48_000)
    assert (recording.filename, recording.sha256, recording.bytes) == ("lecture.m4a", "ab" * 32, 123)
    assert recording.codec


def test_sixteen_khz_mono_passes_through_bit_for_bit(decoder: AudioDecoder) -> None:
    said = [Utterance(start_s=1, end_s=2, text="hello"), Utterance(start_s=5, end_s=13, text="world")]
    samples, _ = decode(decoder, write_wav(said))
    assert np.array_equal(samples, write_samples(said))


@pytest.mark.parametrize("channels", [3, 6, 8, 17, 24, 64])
def test_any_number_of_channels_is_mixed_or_refused(decoder: AudioDecoder, channels: int) -> None:
    tones = np.tile(tone(1.0, rate_hz=16_000)[:, None], channels).tobytes()
    try:
        samples, _ = decode(decoder, wav_header(channels=channels, data=tones))
    except AudioDamaged:
        assert channels > 8, "as many as a cinema has must work"
    else:
        assert len(samples) == SAMPLE_RATE_HZ
        assert np.abs(samples.astype(float)).mean() > 1000


def test_a_frame_that_cannot_be_converted_is_damage(decoder: AudioDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    class Broken:
        def __init__(self, **options: object) -> None:
            self.options = options

        def resample(self, frame: object) -> list[object]:
            raise av.ArgumentError(22, "invalid argument")

    monkeypatch.setattr("av.audio.resampler.AudioResampler", Broken)
    with pytest.raises(AudioDamaged):
        decode(decoder, encoded("flac"))


def test_a_change_of_rate_and_channels_in_the_middle_is_followed(decoder: AudioDecoder) -> None:
    first = encoded("mp3", duration_s=3.0, rate_hz=44_100, layout="mono")
    second = encoded("mp3", duration_s=3.0, rate_hz=22_050)
    samples, _ = decode(decoder, first + second)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(6.0, abs=0.2)
    assert np.abs(samples[-2 * SAMPLE_RATE_HZ : -SAMPLE_RATE_HZ].astype(float)).mean() > 4000


def test_a_hole_in_the_container_s_time_becomes_silence(decoder: AudioDecoder) -> None:
    samples, _ = decode(decoder, with_hole(encoded("ogg")))
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(TONE_S, abs=0.3)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(b"", UnsupportedMedia, id="empty file"),
        pytest.param(b"Dear all,\n" * 500, UnsupportedMedia, id="text named .wav"),
        pytest.param(b"%PDF-1.7\n" + bytes(5000), UnsupportedMedia, id="document"),
        pytest.param(b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", UnsupportedMedia, id="playlist"),
        pytest.param(b"ffconcat version 1.0\nfile /etc/passwd\n", UnsupportedMedia, id="concat script"),
        pytest.param(wav_header(rate_hz=0), AudioDamaged, id="0 Hz"),
        pytest.param(wav_header(rate_hz=1), AudioDamaged, id="1 Hz"),
        pytest.param(wav_header(rate_hz=4_294_967_295), AudioDamaged, id="4 GHz"),
        pytest.param(wav_header(channels=255), AudioDamaged, id="255 channels"),
        pytest.param(wav_header(channels=0), UnsupportedMedia, id="no channel"),
        pytest.param(b"OggS" + bytes(3000), AudioDamaged, id="ogg in name only"),
        *(pytest.param(encoded(suffix)[:40], AudioDamaged, id=f"{suffix} header only") for suffix in CODECS),
        pytest.param(encoded("m4a")[:20_000], AudioDamaged, id="m4a without its index"),
    ],
)
def test_what_cannot_be_decoded_is_refused(decoder: AudioDecoder, data: bytes, error: type[Exception]) -> None:
    for attempt in (probe, decode):
        with pytest.raises(UnsupportedMedia) as refused:
            attempt(decoder, data)
        assert type(refused.value) is error
        assert "/" not in refused.value.message


def test_video_without_audio_is_refused(decoder: AudioDecoder) -> None:
    for attempt in (probe, decode):
        with pytest.raises(UnsupportedMedia, match="no audio"):
            attempt(decoder, video_without_audio())


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg", "webm"])
def test_a_file_that_is_cut_off_gives_what_is_there(decoder: AudioDecoder, suffix: str) -> None:
    data = encoded(suffix)
    samples, warnings = decode(decoder, data[: len(data) // 2])
    assert TONE_S * 0.35 < len(samples) / SAMPLE_RATE_HZ < TONE_S * 0.6
    if suffix in ("wav", "flac", "webm"):  # the others do not say how long they are
        assert len(warnings) == 1


@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a", "flac", "ogg", "webm"])
def test_damage_in_the_middle_does_not_end_the_recording(decoder: AudioDecoder, suffix: str) -> None:
    samples, _ = decode(decoder, with_hole(encoded(suffix)))
    assert len(samples) / SAMPLE_RATE_HZ > TONE_S * 0.9


def test_no_audio_at_all_gives_no_block(decoder: AudioDecoder) -> None:
    samples, _ = decode(decoder, wav_header(data=b""))
    assert len(samples) == 0


@pytest.mark.parametrize("claimed", [0x7FFF_FFFF, 0xFFFF_FFFF, 0])
def test_open_ended_wav_headers_are_believed_by_their_size(decoder: AudioDecoder, claimed: int) -> None:
    data = wav_header(claimed_bytes=claimed)
    samples, warnings = decode(decoder, data)
    assert len(samples) in (0, SAMPLE_RATE_HZ)
    assert claimed == 0 or warnings == ()


def test_seconds_are_counted_not_believed(decoder: AudioDecoder) -> None:
    bomb = encoded("flac", duration_s=600.0, rate_hz=16_000, layout="mono", silent=True)
    assert len(bomb) < 200_000
    started_s = time.monotonic()
    with pytest.raises(TooLarge):
        decode(decoder, bomb, max_duration_s=100.0)
    assert time.monotonic() - started_s < 30


def test_exactly_the_limit_is_allowed(decoder: AudioDecoder) -> None:
    samples, _ = decode(decoder, wav_header(), max_duration_s=1.0)
    assert len(samples) == SAMPLE_RATE_HZ


def test_errors_of_the_store_pass_through(decoder: AudioDecoder) -> None:
    class Failing(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            self.reads += 1
            if self.reads > 6:
                raise ArtifactStoreUnavailable("the store went away")
            return super().read(size)

    with pytest.raises(ArtifactStoreUnavailable):
        list(decoder.decode(Failing(encoded("wav")), max_duration_s=DAY_S))


def test_closing_twice_and_in_the_middle_is_fine(decoder: AudioDecoder) -> None:
    blocks = decoder.decode(io.BytesIO(encoded("flac")), max_duration_s=DAY_S)
    assert len(next(blocks)) > 0
    blocks.close()
    blocks.close()
    assert list(blocks) == []


@settings(max_examples=150, deadline=None)
@given(
    suffix=st.sampled_from(sorted(CODECS)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=40),
    keep=st.floats(0.01, 1),
    cut_out=st.tuples(st.floats(0, 1), st.floats(0, 0.2)),
)
def test_any_bytes_give_samples_or_one_of_our_errors(
    suffix: str, changes: list[tuple[float, int]], keep: float, cut_out: tuple[float, float]
) -> None:
    data = bytearray(encoded(suffix, duration_s=1.0))
    for place, value in changes:
        data[min(len(data) - 1, int(place**3 * len(data)))] = value  # headers are hit more often
    start, length = int(cut_out[0] * len(data)), int(cut_out[1] * len(data))
    del data[start : start + length]
    data = data[: int(keep * len(data))]
    for attempt in (probe, decode):
        with contextlib.suppress(UnsupportedMedia, TooLarge):
            attempt(PyavDecoder(), bytes(data))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=4000))
def test_random_bytes_are_refused_or_decoded(data: bytes) -> None:
    with contextlib.suppress(UnsupportedMedia, TooLarge):
        decode(PyavDecoder(), data)
