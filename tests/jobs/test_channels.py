"""A recorded call with one speaker a channel, through a whole job over fakes."""

import io
import wave
from collections.abc import Sequence

import numpy as np
import pytest

from pipelines.domain.job import JobResult
from pipelines.domain.samples import Samples
from pipelines.domain.speakers import Diarization, DiarizationOptions
from pipelines.fakes.models import FakeDiarizer, FakeTranscriber
from pipelines.fakes.scripted_speech import Utterance, write_samples
from pipelines.fakes.steps import InMemoryStepRunner
from pipelines.jobs.artifacts import load_result
from pipelines.jobs.failure import JobFailed
from pipelines.jobs.ports import ProcessingOptions, RecordingPorts
from pipelines.jobs.recording import process_recording
from pipelines.jobs.result import load_stage_outputs
from tests.jobs.recordings import UPLOAD, fake_ports, new_job

AGENT = (
    Utterance(start_s=0.5, end_s=4.0, text="good morning"),
    Utterance(start_s=40.0, end_s=44.0, text="which account"),
)
CALLER = (
    Utterance(start_s=5.0, end_s=9.0, text="hello to you"),
    Utterance(start_s=45.0, end_s=49.0, text="the second one"),
)
FEATURES = ("raw_transcript", "diarization", "word_timestamps")


class NoDiarizer(FakeDiarizer):
    async def diarize(self, samples: object, options: DiarizationOptions) -> Diarization:
        raise AssertionError("nobody needs to be told apart")


def channel(utterances: Sequence[Utterance]) -> Samples:
    return write_samples(utterances, duration_s=50.0)


def stereo_wav(left: Samples, right: Samples) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as wav:
        wav.setnchannels(2)
        wav.setsampwidth(2)
        wav.setframerate(16_000)
        wav.writeframes(np.stack([left, right], axis=1).astype("<i2").tobytes())
    return buffer.getvalue()


async def run(ports: RecordingPorts, recording: bytes, steps: InMemoryStepRunner, **fields: str) -> JobResult:
    await ports.artifacts.write(UPLOAD.artifact, recording)
    job = new_job(*FEATURES, **fields)
    await process_recording(job, ports, steps, ProcessingOptions())
    result = await load_result(ports.artifacts, job.tenant, job.job_id)
    assert result is not None
    return result


async def test_each_channel_is_a_speaker_and_nobody_diarizes() -> None:
    ports, steps = await fake_ports(diarizer=NoDiarizer()), InMemoryStepRunner()
    result = await run(ports, stereo_wav(channel(AGENT), channel(CALLER)), steps)
    assert result.results["raw_transcript"] == "good morning hello to you which account the second one"
    assert result.speakers == ("SPEAKER_00", "SPEAKER_01")
    assert result.versions["diarizer"]["backend"] == "channels"  # type: ignore[index]
    assert result.warnings == ()
    told = [data["artifact"] for event, data in steps.events if event == "window"]
    assert len(told) == 4
    assert all([await ports.artifacts.size(str(key)) for key in told]), "every window's text can be read"


async def test_segments_and_words_say_whose_they_are() -> None:
    ports = await fake_ports(diarizer=NoDiarizer())
    await ports.artifacts.write(UPLOAD.artifact, stereo_wav(channel(CALLER), channel(AGENT)))
    job = new_job(*FEATURES)
    await process_recording(job, ports, InMemoryStepRunner(), ProcessingOptions())
    transcript = (await load_stage_outputs(ports.artifacts, job.tenant, job.job_id)).transcript
    assert transcript is not None
    assert [segment.id for segment in transcript.segments] == [0, 1, 2, 3]
    assert [segment.speaker for segment in transcript.segments] == ["SPEAKER_00", "SPEAKER_01"] * 2
    assert {word.speaker for word in transcript.segments[1].words} == {"SPEAKER_01"}


async def test_a_restart_repeats_no_finished_window_of_any_channel() -> None:
    ports = await fake_ports(diarizer=NoDiarizer())
    await ports.artifacts.write(UPLOAD.artifact, stereo_wav(channel(AGENT), channel(CALLER)))
    job, transcriber = new_job(*FEATURES), FakeTranscriber()
    await process_recording(job, ports, InMemoryStepRunner(), ProcessingOptions())
    for name in ("transcribe", "attribute", "result"):
        await ports.artifacts.delete_tree(f"{job.tenant}/{job.job_id}/{name}.json")
    again = RecordingPorts(
        reader=ports.reader, transcriber=transcriber, artifacts=ports.artifacts, diarizer=NoDiarizer()
    )
    await process_recording(job, again, InMemoryStepRunner(), ProcessingOptions())
    assert len(transcriber.windows) <= 4


@pytest.mark.parametrize(
    ("left", "right", "fields", "codes"),
    [
        (AGENT, AGENT, {}, ()),
        (AGENT, (), {}, ("channels_not_split",)),
        (AGENT, CALLER, {"channels": "mix"}, ()),
        (AGENT, AGENT, {"channels": "split"}, ("channels_not_split",)),
    ],
)
async def test_what_holds_one_speaker_is_heard_once(
    left: Sequence[Utterance], right: Sequence[Utterance], fields: dict[str, str], codes: tuple[str, ...]
) -> None:
    steps = InMemoryStepRunner()
    result = await run(await fake_ports(), stereo_wav(channel(left), channel(right)), steps, **fields)
    assert tuple(warning.code for warning in result.warnings) == codes
    assert [data["code"] for event, data in steps.events if event == "warning"] == list(codes)
    assert "good morning" in str(result.results["raw_transcript"]) or fields.get("channels") == "mix"


async def test_one_channel_cannot_be_split() -> None:
    with pytest.raises(JobFailed) as failed:
        await process_recording(
            new_job(*FEATURES, channels="split"), await fake_ports(), InMemoryStepRunner(), ProcessingOptions()
        )
    assert (failed.value.failure.code, failed.value.failure.param) == ("invalid_field", "channels")
