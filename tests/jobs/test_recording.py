"""The job itself: stages, order, progress, results; and that it can be killed anywhere."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from pipelines.domain.audio import Recording, Window
from pipelines.domain.encoding import from_json
from pipelines.domain.job import Enhancement, JobRequest, JobResult, NewJob, Upload
from pipelines.domain.model import Degradation, ModelInfo
from pipelines.domain.speakers import Diarization, DiarizationOptions
from pipelines.domain.transcript import Transcript, TranscriptionOptions, WindowTranscript
from pipelines.domain.understanding import EnhancementReport, UnderstandingReport
from pipelines.errors import ModelError
from pipelines.fakes.models import FakeDiarizer, FakeTranscriber
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.fakes.scripted_speech import write_wav
from pipelines.fakes.steps import InMemoryStepRunner, SimulatedCrash
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.jobs.artifacts import load_result
from pipelines.jobs.failure import JobFailed
from pipelines.jobs.ports import ProcessingOptions, RecordingPorts
from pipelines.jobs.recording import process_recording
from pipelines.jobs.result import load_stage_outputs
from pipelines.jobs.stages import Diarized, Prepared
from pipelines.recognition.transcribe import Wave
from tests.jobs.recordings import DIALOGUE, EVERYTHING, UPLOAD, fake_ports, new_job

LANGUAGE = ("clean_transcript", "entities")
ALL_STEPS = ["prepare", "transcribe", "diarize", "attribute", "enhance", "understand", "index", "result"]


class ShoutingUnderstanding:
    """Language stages that need no language."""

    async def enhance(self, transcript: Transcript, request: JobRequest, asr: ModelInfo) -> EnhancementReport:
        fallback = Degradation(stage="enhance", wanted="a model", used=asr.name, reason="none is configured")
        return EnhancementReport(
            transcript=transcript, edit_rate=0.25, versions={"model": "shout"}, degraded=(fallback,)
        )

    async def understand(self, transcript: Transcript, request: JobRequest) -> UnderstandingReport:
        return UnderstandingReport(
            results={"entities": [transcript.text.upper()]}, versions={"entities": {"model": "x"}}
        )


async def run(job: NewJob, ports: RecordingPorts, steps: InMemoryStepRunner | None = None, **options: Any) -> JobResult:
    await process_recording(job, ports, steps or InMemoryStepRunner(), ProcessingOptions(**options))
    result = await load_result(ports.artifacts, job.tenant, job.job_id)
    assert result is not None
    return result


async def failure(job: NewJob, ports: RecordingPorts, **options: Any) -> Mapping[str, object]:
    with pytest.raises(JobFailed) as caught:
        await run(job, ports, **options)
    found = caught.value.failure
    return {"code": found.code, "stage": found.stage, "param": found.param}


def words(texts: Iterable[str]) -> list[str]:
    return sorted(" ".join(texts).split())


class TestResult:
    async def test_everything_at_once(self) -> None:
        ports = await fake_ports(understanding=ShoutingUnderstanding())
        result = await run(new_job(*EVERYTHING, *LANGUAGE), ports)
        text = " ".join(utterance.text for utterance in DIALOGUE)
        assert result.results["raw_transcript"] == text
        assert result.results["clean_transcript"] == text
        assert result.results["entities"] == [text.upper()]
        assert result.enhancement == Enhancement(ran=True, reason=None)
        assert (result.language, result.speakers) == ("en", ("SPEAKER_00", "SPEAKER_01"))
        assert result.recording is not None
        assert result.recording.filename == UPLOAD.filename
        assert [degradation.stage for degradation in result.degraded] == ["enhance"]
        assert set(result.versions) == {"pipeline", "asr", "diarizer", "embedder", "llm"}
        assert result.versions["llm"] == {"entities": {"model": "x"}, "clean_transcript": {"model": "shout"}}
        metrics = result.metrics
        assert (metrics.windows, metrics.redecoded_windows, metrics.edit_rate_cleaning) == (3, 0, 0.25)
        assert metrics.input_duration_s == pytest.approx(65.5)
        assert metrics.vad_coverage == pytest.approx(3 / 65.5, abs=0.05)
        assert list(metrics.stage_s) == ALL_STEPS[:-1]
        assert metrics.processing_s is not None
        assert metrics.rtf == pytest.approx(metrics.processing_s / 65.5, abs=1e-4)

    async def test_only_what_was_asked_runs(self) -> None:
        steps = InMemoryStepRunner()
        result = await run(new_job("raw_transcript"), await fake_ports(), steps)
        assert steps.started == ["prepare", "transcribe", "result"]
        assert set(result.versions) == {"pipeline", "asr"}
        assert result.speakers == ()

    @pytest.mark.parametrize(
        ("features", "timed", "shown"),
        [
            (("raw_transcript",), False, False),
            (("diarization",), True, False),
            (("diarization", "word_timestamps"), True, True),
        ],
    )
    async def test_speakers_are_put_on_timed_words_which_only_those_see_who_asked(
        self, features: tuple[str, ...], timed: bool, shown: bool
    ) -> None:
        asked = set()

        class RecordingTranscriber(FakeTranscriber):
            async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
                asked.add(options.word_timestamps)
                return await super().transcribe(window, options)

        job, ports = new_job(*features), await fake_ports(transcriber=RecordingTranscriber())
        await run(job, ports)
        transcript = (await load_stage_outputs(ports.artifacts, job.tenant, job.job_id)).transcript
        assert transcript is not None
        assert asked == {timed}
        assert all(bool(segment.words) == shown for segment in transcript.segments)

    async def test_steps_start_in_one_order(self) -> None:
        steps = InMemoryStepRunner()
        await run(new_job(*EVERYTHING, *LANGUAGE), await fake_ports(understanding=ShoutingUnderstanding()), steps)
        assert steps.started == ALL_STEPS

    async def test_steps_return_references_and_numbers_only(self) -> None:
        steps = InMemoryStepRunner()
        await run(new_job(), await fake_ports(), steps)
        assert len(json.dumps(steps.results)) < 1500
        assert steps.results["transcribe"]["windows"] == 3
        assert steps.results["diarize"]["speakers"] == 2

    async def test_transcription_and_diarization_run_at_the_same_time(self) -> None:
        meeting = asyncio.Barrier(2)

        class MeetingTranscriber(FakeTranscriber):
            async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
                if window.index == 0:
                    await meeting.wait()
                return await super().transcribe(window, options)

        class MeetingDiarizer(FakeDiarizer):
            async def diarize(self, samples: object, options: DiarizationOptions) -> Diarization:
                await meeting.wait()
                return await super().diarize(samples, options)

        async with asyncio.timeout(10):
            await run(new_job(), await fake_ports(transcriber=MeetingTranscriber(), diarizer=MeetingDiarizer()))

    async def test_progress_never_falls_and_ends_whole(self) -> None:
        steps = InMemoryStepRunner()
        await run(new_job(*EVERYTHING, *LANGUAGE), await fake_ports(understanding=ShoutingUnderstanding()), steps)
        assert steps.events[0] == ("started", {})
        progress = [float(str(data["progress"])) for kind, data in steps.events if kind != "started"]
        assert progress == sorted(progress)
        assert 0.9 < progress[-1] <= 1.0
        windows = [data for kind, data in steps.events if kind == "window"]
        assert [(window["stage"], window["window"]) for window in windows] == [
            ("transcribe", number) for number in range(len(DIALOGUE))
        ]
        assert not any(utterance.text in str(steps.events) for utterance in DIALOGUE)

    async def test_a_windows_text_is_stored_before_anybody_hears_of_it(self) -> None:
        ports, told = await fake_ports(), list[str]()

        class ReadingStepRunner(InMemoryStepRunner):
            async def emit(self, event_type: str, data: Mapping[str, object]) -> None:
                if event_type == "window":
                    wave = from_json(Wave, await ports.artifacts.read(str(data["artifact"])))
                    [said] = [found for found in wave.windows if found.transcript.index == data["window"]]
                    told.append(said.transcript.text)

        await run(new_job("raw_transcript"), ports, ReadingStepRunner())
        assert told == [utterance.text for utterance in DIALOGUE]


class TestCrashes:
    @pytest.mark.parametrize("place", ["crash_before", "crash_after"])
    @pytest.mark.parametrize("step", ALL_STEPS)
    async def test_a_job_that_dies_anywhere_goes_on_from_there(self, step: str, place: str) -> None:
        job, passages = new_job(*EVERYTHING, *LANGUAGE), InMemoryPassageStore()
        store, transcriber = InMemoryArtifactStore(), FakeTranscriber()
        ports = await fake_ports(
            store, passages=passages, transcriber=transcriber, understanding=ShoutingUnderstanding()
        )
        steps = InMemoryStepRunner(**{place: step})
        with pytest.raises(SimulatedCrash):
            await process_recording(job, ports, steps)
        successor = steps.resumed()
        result = await run(job, ports, successor)
        assert result.speakers == ("SPEAKER_00", "SPEAKER_01")
        assert set(transcriber.windows) == {0, 1, 2}
        # Whoever dies beside the transcription takes its windows in flight along: these are decoded again.
        assert len(transcriber.windows) == 3 or step == "diarize"
        assert successor.started == ALL_STEPS
        assert not set(successor.ran) & set(steps.results)
        results = [key for key in store.writes if key.endswith("result.json")]
        assert len(results) == 1
        found = await passages.passages("acme", "biology", job.job_id)
        assert words(passage.text for passage in found) == words(utterance.text for utterance in DIALOGUE)

    async def test_a_job_starts_over_without_records_and_skips_by_artifact(self) -> None:
        job, transcriber = new_job(), FakeTranscriber()
        ports = await fake_ports(transcriber=transcriber)
        first = await run(job, ports)
        assert await run(job, ports, InMemoryStepRunner()) == first
        assert transcriber.windows == [0, 1, 2]


class TestFailures:
    async def test_a_failing_branch_stops_the_other_and_keeps_what_is_done(self) -> None:
        class DeadDiarizer(FakeDiarizer):
            async def diarize(self, samples: object, options: DiarizationOptions) -> Diarization:
                raise ModelError("the diarizer found nothing that it could use")

        job, ports = new_job(), await fake_ports(diarizer=DeadDiarizer())
        assert await failure(job, ports) == {"code": "model_error", "stage": "diarize", "param": None}
        outputs = await load_stage_outputs(ports.artifacts, job.tenant, job.job_id)
        assert outputs.find(Prepared) is not None
        assert outputs.find(Diarized) is None

    async def test_an_error_of_ours_tells_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        class BuggyTranscriber(FakeTranscriber):
            async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
                raise ZeroDivisionError("secret words")

        with pytest.raises(JobFailed) as caught:
            await run(new_job(), await fake_ports(transcriber=BuggyTranscriber()))
        assert (caught.value.failure.code, caught.value.failure.stage) == ("internal_error", "transcribe")
        assert "secret" not in caught.value.failure.message

    async def test_what_is_no_audio_fails_in_prepare(self) -> None:
        ports = await fake_ports()
        await ports.artifacts.write(UPLOAD.artifact, b"not a recording")
        assert (await failure(new_job(), ports))["code"] == "unsupported_media"

    async def test_a_recording_must_have_a_length(self) -> None:
        ports = await fake_ports()
        await ports.artifacts.write(UPLOAD.artifact, write_wav((), duration_s=0.4))
        assert await failure(new_job(), ports) == {"code": "audio_too_short", "stage": "prepare", "param": "file"}

    async def test_silence_ends_well(self) -> None:
        ports = await fake_ports()
        await ports.artifacts.write(UPLOAD.artifact, write_wav((), duration_s=3.0))
        result = await run(new_job(), ports)
        assert (result.results["raw_transcript"], result.speakers) == ("", ())
        assert result.metrics.vad_coverage == 0.0

    async def test_diarization_has_a_limit(self) -> None:
        found = await failure(new_job(), await fake_ports(), max_diarization_s=20.0)
        assert (found["code"], found["stage"]) == ("diarization_too_long", "prepare")
        await run(new_job("raw_transcript"), await fake_ports(), max_diarization_s=20.0)

    async def test_a_job_has_a_time_limit(self) -> None:
        class StuckTranscriber(FakeTranscriber):
            async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
                await asyncio.Event().wait()
                raise AssertionError("nothing opens this gate")

        ports = await fake_ports(transcriber=StuckTranscriber())
        found = await failure(new_job("raw_transcript"), ports, timeout_base_s=0.05, timeout_factor=0.001)
        assert (found["code"], found["stage"]) == ("deadline_exceeded", "transcribe")

    async def test_where_the_container_only_estimates_the_time_limit_follows_from_what_was_decoded(self) -> None:
        class StuckStore(InMemoryPassageStore):
            async def upsert(self, *_arguments: Any, **_options: Any) -> None:
                await asyncio.Event().wait()

        ports = await fake_ports(passages=StuckStore())
        probe = ports.reader.probe

        async def estimate(upload: Upload) -> Recording:
            return replace(await probe(upload), duration_estimated=True)

        ports.reader.probe = estimate  # type: ignore[method-assign]
        with pytest.raises(JobFailed) as caught:
            await run(new_job("index"), ports, timeout_base_s=1.0, timeout_factor=0.001)
        assert caught.value.failure.message == "the job worked for longer than 1 s"

    @pytest.mark.parametrize("feature", ["diarization", "index", "clean_transcript", "entities"])
    async def test_what_a_deployment_lacks_is_refused(self, feature: str) -> None:
        ports = await fake_ports(diarizer=None, embedder=None, passages=None)
        assert (await failure(new_job(feature), ports))["code"] == "not_available"
