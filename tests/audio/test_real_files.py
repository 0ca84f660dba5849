"""What people's files do to time and to sound, made the way their programs make them."""

import io
from typing import Any

import numpy as np
import pytest

from pipelines.audio import decode as decoding
from pipelines.audio.decode import PyavDecoder
from pipelines.audio.mixing import Mixer
from pipelines.domain.audio import SAMPLE_RATE_HZ, AudioWarning
from pipelines.domain.job import Upload
from pipelines.domain.samples import Samples
from tests.audio.containers import Track, encoded, gsm_wav, muxed, tone, wav_header

UPLOAD = Upload(filename="a", sha256="", bytes=0, artifact="a")
TEN_S: Samples = tone(10.0)
STEREO: Samples = np.stack([TEN_S, TEN_S], axis=1)
OPPOSITE: Samples = np.stack([TEN_S, -TEN_S], axis=1)
SILENT: Samples = np.zeros_like(STEREO)
AMR_SPEECH = bytes([7 << 3 | 4]) + bytes(range(31))
AMR_PAUSE = (bytes([8 << 3 | 4]) + bytes(5)) + bytes([15 << 3 | 4]) * 7


def decode(data: bytes) -> tuple[Samples, tuple[AudioWarning, ...]]:
    blocks = PyavDecoder().decode(io.BytesIO(data), max_duration_s=3_600.0)
    return np.concatenate([np.zeros(0, np.int16), *blocks]), blocks.warnings


def loud_spans(samples: Samples) -> list[tuple[float, float]]:
    """Return where there is sound, in seconds, by tenths."""
    tenths = len(samples) // 1_600
    loud = np.abs(samples[: tenths * 1_600].reshape(tenths, 1_600).astype(float)).mean(axis=1) > 1_000
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(int))).reshape(-1, 2)
    return [(start / 10, end / 10) for start, end in edges]


def codes(warnings: tuple[AudioWarning, ...]) -> list[str]:
    return [warning.code for warning in warnings]


@pytest.mark.parametrize(
    ("muxer", "codec", "late_s"),
    [
        ("mp4", "aac", 4.0),
        ("matroska", "aac", 4.0),
        ("matroska", "libopus", 4.0),
        ("mpegts", "aac", 4.0),
        ("mpegts", "aac", 8.0),
        ("mpegts", "mp2", 8.0),
        ("mp4", "aac", 90.0),
    ],
)
def test_sound_that_begins_after_the_picture_keeps_the_player_s_times(muxer: str, codec: str, late_s: float) -> None:
    data = muxed(muxer, [Track(codec, [(late_s, STEREO)])], video_s=late_s + 12)
    samples, warnings = decode(data)
    [(start_s, end_s)] = loud_spans(samples)
    assert start_s == pytest.approx(late_s, abs=0.11)
    assert end_s == pytest.approx(late_s + 10, abs=0.11)
    assert warnings == ()
    assert PyavDecoder().probe(io.BytesIO(data), UPLOAD).channels == 2


@pytest.mark.parametrize(("muxer", "codec"), [("matroska", "aac"), ("mp4", "aac"), ("ogg", "libopus")])
def test_a_long_hole_in_time_is_silence(muxer: str, codec: str) -> None:
    samples, warnings = decode(muxed(muxer, [Track(codec, [(0.0, STEREO), (100.0, STEREO)])]))
    assert loud_spans(samples) == [pytest.approx((0.0, 10.0), abs=0.11), pytest.approx((100.0, 110.0), abs=0.11)]
    assert warnings == ()


def test_a_broadcast_whose_clock_jumps_is_read_on_and_its_times_are_called_uncertain() -> None:
    first, second = (muxed("mpegts", [Track("aac", [(start_s, STEREO)])]) for start_s in (0.0, 500.0))
    samples, [warning] = decode(first + second)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(20.0, abs=0.3)
    assert warning.code == "times_uncertain"
    assert warning.start_s == pytest.approx(10.0, abs=0.2)


def test_channels_of_opposite_phase_are_heard_and_said() -> None:
    samples, [warning] = decode(muxed("matroska", [Track("flac", [(0.0, OPPOSITE)])]))
    assert loud_spans(samples) == [pytest.approx((0.0, 10.0), abs=0.11)]
    assert (warning.code, warning.start_s) == ("mix_cancelled", 0.0)
    assert warning.end_s == pytest.approx(10.0, abs=0.11)


def test_only_what_cancels_is_taken_from_one_channel() -> None:
    left = np.concatenate([TEN_S, TEN_S])
    right = np.concatenate([TEN_S // 2, -TEN_S])
    samples, [warning] = decode(muxed("matroska", [Track("flac", [(0.0, np.stack([left, right], axis=1))])]))
    assert np.abs(samples[: 9 * SAMPLE_RATE_HZ].astype(float)).mean() == pytest.approx(
        0.75 * 8000 * 2 / np.pi, rel=0.02
    )
    assert np.abs(samples[-9 * SAMPLE_RATE_HZ :].astype(float)).mean() == pytest.approx(8000 * 2 / np.pi, rel=0.02)
    assert warning.start_s == pytest.approx(10.0, abs=1.1)


@pytest.mark.parametrize("right", [np.zeros_like(TEN_S), np.random.default_rng(0).normal(0, 5_000, len(TEN_S))])
def test_channels_of_their_own_are_mixed_without_a_word(right: Samples) -> None:
    both = np.stack([TEN_S, right.astype(np.int16)], axis=1)
    _, warnings = decode(muxed("matroska", [Track("flac", [(0.0, both)])]))
    assert warnings == ()


def test_no_more_of_silent_tracks_is_searched_than_may_be_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    mixers: list[Mixer] = []

    class Counted(Mixer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            mixers.append(self)

    monkeypatch.setattr(decoding, "Mixer", Counted)
    data = muxed("matroska", [Track("flac", [(0.0, SILENT)]) for _ in range(4)])
    blocks = PyavDecoder().decode(io.BytesIO(data), max_duration_s=12.0)
    blocks.close()
    assert max(mixer.samples for mixer in mixers) / SAMPLE_RATE_HZ == pytest.approx(12.5, abs=1.5)


def test_further_tracks_are_named() -> None:
    tracks = [Track("aac", [(0.0, STEREO)]), Track("aac", [(0.0, SILENT)], title="Commentary")]
    samples, [warning] = decode(muxed("matroska", tracks))
    assert loud_spans(samples) == [pytest.approx((0.0, 10.0), abs=0.11)]
    assert warning.code == "tracks_ignored"
    assert warning.message == "only audio track 1 was transcribed, not 2 (Commentary)"


@pytest.mark.parametrize("muxer", ["matroska", "mp4"])
def test_a_silent_track_gives_way_to_one_that_is_heard(muxer: str) -> None:
    samples, [warning] = decode(muxed(muxer, [Track("aac", [(0.0, SILENT)]), Track("aac", [(0.0, STEREO)])]))
    assert loud_spans(samples) == [pytest.approx((0.0, 10.0), abs=0.11)]
    assert warning.message.startswith("only audio track 2")


def test_a_default_track_in_an_unknown_format_gives_way() -> None:
    data = muxed("matroska", [Track("libopus", [(0.0, STEREO)]), Track("aac", [(0.0, STEREO)])])
    data = data.replace(b"A_OPUS", b"A_XPUS")
    samples, [warning] = decode(data)
    assert loud_spans(samples) == [pytest.approx((0.0, 10.0), abs=0.11)]
    assert warning.code == "tracks_ignored"
    assert PyavDecoder().probe(io.BytesIO(data), UPLOAD).codec == "aac"


def test_a_wav_header_that_says_too_little_is_overruled_by_the_bytes() -> None:
    data = wav_header(data=tone(25.0, rate_hz=16_000).tobytes(), claimed_bytes=3 * 32_000)
    samples, [warning] = decode(data)
    assert len(samples) / SAMPLE_RATE_HZ == 25.0
    assert (warning.code, warning.start_s, warning.end_s) == ("audio_longer_than_stated", 3.0, 25.0)
    assert PyavDecoder().probe(io.BytesIO(data), UPLOAD).duration_s == 25.0


@pytest.mark.parametrize("rest", [b"LIST\x70\x17\0\0" + b"INFO" * 1_500, bytes(32_000), b"TAG" * 40])
def test_what_programs_put_behind_the_sound_is_no_sound(rest: bytes) -> None:
    whole = wav_header(data=tone(2.0, rate_hz=16_000).tobytes())
    samples, warnings = decode(whole + rest)
    assert len(samples) == 2 * SAMPLE_RATE_HZ
    assert warnings == ()


@pytest.mark.parametrize("suffix", ["wav", "m4a", "flac", "ogg", "mp3"])
def test_recordings_one_after_another_are_all_read(suffix: str) -> None:
    one = encoded(suffix, duration_s=3.0)
    samples, warnings = decode(one + one + one)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(9.0, abs=0.2)
    assert len(loud_spans(samples[: 9 * SAMPLE_RATE_HZ])) <= 3
    if suffix in ("wav", "m4a"):
        [warning] = warnings
        assert warning.code == "recordings_joined"
        assert warning.start_s == pytest.approx(3.0, abs=0.1)
        assert "3 recordings" in warning.message
        assert PyavDecoder().probe(io.BytesIO(one * 3), UPLOAD).duration_s == pytest.approx(9.0, abs=0.2)
    assert set(codes(warnings)) <= {"recordings_joined"}


def test_a_damaged_recording_behind_a_whole_one_is_said() -> None:
    one = encoded("m4a", duration_s=3.0)
    samples, [warning] = decode(one + one[:4_000])
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(3.0, abs=0.1)
    assert warning.code == "audio_damaged"


def test_pauses_that_a_telephone_did_not_send_are_no_damage() -> None:
    samples, warnings = decode(b"#!AMR\n" + AMR_SPEECH * 50 + AMR_PAUSE * 20 + AMR_SPEECH * 50)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(5.2, abs=0.05)
    assert warnings == ()


def test_a_last_block_that_is_not_whole_is_no_damage() -> None:
    blocks = np.random.default_rng(1).integers(0, 256, 100 * 65, dtype=np.uint8).tobytes()
    samples, warnings = decode(gsm_wav(blocks[:-30]))
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(3.96, abs=0.01)
    assert warnings == ()


def test_damage_is_said_with_its_place() -> None:
    data = bytearray(encoded("flac"))
    data[len(data) // 2 : len(data) // 2 + 20_000] = bytes(20_000)
    _, warnings = decode(bytes(data))
    assert set(codes(warnings)) <= {"audio_damaged", "audio_truncated", "times_uncertain"}
    assert all(warning.start_s is not None for warning in warnings)


@pytest.mark.parametrize(("muxer", "codec"), [("adts", "aac"), ("mp3", "libmp3lame")])
def test_a_duration_reckoned_from_the_bit_rate_is_called_an_estimate(muxer: str, codec: str) -> None:
    noise = np.random.default_rng(0).normal(0, 6_000, (10 * 48_000, 2)).astype(np.int16)
    data = muxed(muxer, [Track(codec, [(0.0, np.concatenate([SILENT[: 2 * 48_000], noise]))])])
    recording = PyavDecoder().probe(io.BytesIO(data), UPLOAD)
    assert recording.duration_estimated
    samples, warnings = decode(data)
    assert len(samples) / SAMPLE_RATE_HZ == pytest.approx(12.0, abs=0.1)
    assert warnings == ()


@pytest.mark.parametrize("suffix", ["wav", "m4a", "flac", "ogg", "webm"])
def test_a_duration_that_the_container_says_is_exact(suffix: str) -> None:
    assert not PyavDecoder().probe(io.BytesIO(encoded(suffix)), UPLOAD).duration_estimated


def test_how_much_was_read_grows_to_the_whole() -> None:
    blocks = PyavDecoder().decode(io.BytesIO(encoded("mp3", duration_s=60.0)), max_duration_s=100.0)
    shares = [blocks.read_share or 0.0 for _ in blocks]
    assert shares == sorted(shares)
    assert shares[0] < 0.2
    assert shares[-1] > 0.95
