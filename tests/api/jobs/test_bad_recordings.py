"""Recordings that are broken, absurd or empty, over HTTP: a clear answer, or a job that ends."""

import io
import wave
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.audio.decode import PyavDecoder
from pipelines.domain.job import Upload
from pipelines.fakes.scripted_speech import Utterance, write_wav
from serve_app.settings import Settings
from tests.api.conftest import BuildWorld, World
from tests.api.forms import submit
from tests.api.jobs.test_jobs import ended, submitted
from tests.audio.containers import CODECS, Track, encoded, muxed, video_without_audio, wav_header

UPLOAD = Upload(filename="a", sha256="", bytes=0, artifact="a/b/c")
WAV = write_wav((Utterance(start_s=0.5, end_s=1.5, text="hello"),))


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
async def test_a_file_that_is_cut_off_is_refused_or_its_job_ends(world: World, suffix: str, share: float) -> None:
    data = encoded(suffix, duration_s=3.0)

    response = await submit(world, data[: round(len(data) * share)], f"a.{suffix}")

    if response.status_code == 202:
        job = await ended(world.client, response.json())
        assert job["status"] in ("succeeded", "failed")
        assert job["status"] == "succeeded" or job["error"]["code"] in ("audio_damaged", "audio_too_short")
    else:
        assert response.status_code in (415, 422), response.text
        assert world.stored == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (wav_header(rate_hz=0), None),
        (wav_header(channels=255), None),
        (video_without_audio(), "unsupported_media"),
        (b"\x00" * 10_000, "unsupported_media"),
        (b"<html>not a recording</html>", "unsupported_media"),
    ],
)
async def test_absurd_headers_and_other_files(world: World, content: bytes, code: str | None) -> None:
    response = await submit(world, content)

    assert response.status_code in (415, 422), response.text
    assert code in (None, response.json()["error"]["code"])
    assert world.stored == []


async def test_a_header_with_nothing_behind_it_is_found_out_at_the_latest_by_its_job(world: World) -> None:
    response = await submit(world, wav_header(data=b""))

    if response.status_code == 202:
        assert (await ended(world.client, response.json()))["error"]["code"] == "audio_too_short"
    else:
        assert response.json()["error"]["code"] == "audio_too_short"


async def test_seconds_are_counted_in_a_synchronous_request_too(build: BuildWorld) -> None:
    world = await build(Settings(limits={"request_audio_s": 60.0}))
    bomb = encoded("flac", duration_s=120.0, rate_hz=16_000, layout="mono", silent=True)

    response = await world.client.post(
        "/v1/audio/transcriptions", files={"file": ("a.flac", bomb)}, data={"model": "whisper-1"}
    )

    assert len(bomb) < 200_000
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
    assert world.stored == []


async def test_silence_ends_well(world: World) -> None:
    job = await ended(world.client, (await submit(world, write_wav((), duration_s=3.0))).json())

    assert job["status"] == "succeeded"
    assert job["results"]["raw_transcript"] == ""
    assert job["metrics"]["vad_coverage"] == 0.0
    transcript = (await world.client.get(job["links"]["transcript"])).json()
    assert transcript["segments"] == []


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(start=st.integers(0, 200), damage=st.binary(max_size=60), kept=st.integers(0, len(WAV)))
async def test_any_damage_to_a_recording_is_an_answer_of_ours(
    idle: World, start: int, damage: bytes, kept: int
) -> None:
    response = await submit(idle, (WAV[:start] + damage + WAV[start + len(damage) :])[:kept])

    assert response.status_code in (202, 415, 422), response.text
    if response.status_code == 202:
        await idle.client.delete(response.json()["links"]["self"], params={"erase": "true"})
    assert idle.stored == []


def in_opposite_phase(wav: bytes) -> bytes:
    """Return the recording as two channels that cancel each other."""
    samples = np.frombuffer(wav[44:], dtype="<i2")
    both = np.stack([samples, -samples], axis=1).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(both.tobytes())
    return file.getvalue()


async def test_what_is_uncertain_stands_in_the_job_and_in_an_event(world: World, wav: bytes) -> None:
    job = await submitted(world.client, in_opposite_phase(wav))
    done = await ended(world.client, job)
    assert done["results"]["raw_transcript"] == "the exam is in june and who will grade it"
    [warning] = done["warnings"]
    assert (warning["code"], warning["start_s"]) == ("mix_cancelled", 0.0)
    assert "opposite phase" in warning["message"]
    events = (await world.client.get(job["links"]["events"])).text
    assert events.count("event: warning") == 1
    assert '"code": "mix_cancelled"' in events


@pytest.mark.parametrize("form", ["json", "verbose_json", "diarized_json"])
async def test_transcriptions_say_it_too(world: World, wav: bytes, form: str) -> None:
    async def ask(recording: bytes) -> Any:
        fields = {"model": "scripted", "response_format": form}
        answer = await world.client.post("/v1/audio/transcriptions", files={"file": ("a.wav", recording)}, data=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert [entry["code"] for entry in (await ask(in_opposite_phase(wav)))["warnings"]] == ["mix_cancelled"]
    assert (await ask(wav)).get("warnings") is None


async def test_an_estimated_duration_refuses_nothing_and_is_replaced(build: BuildWorld) -> None:
    # Digital silence, then a tone: by the first bit rate, FFmpeg takes the whole for many times as long.
    noise = np.random.default_rng(0).normal(0, 6_000, 30 * 48_000).astype(np.int16)
    samples = np.concatenate([np.zeros(2 * 48_000, np.int16), noise])[:, None]
    recording = muxed("adts", [Track("aac", [(0.0, samples)])])
    estimated_s = PyavDecoder().probe(io.BytesIO(recording), UPLOAD).duration_s
    assert estimated_s is not None
    assert estimated_s > 60.0
    world = await build(Settings(limits={"recording_hours": 60.0 / 3600.0}))
    job = await submitted(world.client, recording)
    assert job["recording"]["duration_estimated"] is False  # nothing is said of it yet
    done = await ended(world.client, job)
    assert done["status"] == "succeeded"
    assert done["recording"]["duration_s"] == pytest.approx(32.0, abs=0.2)
    assert done["recording"]["duration_estimated"] is False
