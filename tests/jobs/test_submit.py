"""From a received recording to a job, and back to nothing."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from pipelines.domain.job import JobRequest, JobStatus, Upload
from pipelines.errors import (
    AudioTooShort,
    DiarizationTooLong,
    InvalidRequest,
    NotAvailable,
    NotFound,
    PassageStoreUnavailable,
    UnsupportedMedia,
)
from pipelines.fakes.jobs import InMemoryJobQueue
from pipelines.fakes.models import FakeDiarizer
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.fakes.scripted_speech import write_wav
from pipelines.jobs.erase import erase_job
from pipelines.jobs.features import FEATURES
from pipelines.jobs.ports import ProcessingOptions, RecordingPorts
from pipelines.jobs.recording import process_recording
from pipelines.jobs.result import read_job, read_transcript
from pipelines.jobs.submit import check_request, hash_submission, new_job_id, submit_job
from tests.jobs.recordings import UPLOAD, fake_ports, new_job


class World:
    """Ports, and a queue that runs jobs on them."""

    def __init__(self, ports: RecordingPorts, passages: InMemoryPassageStore) -> None:
        self.ports = ports
        self.passages = passages
        self.queue = InMemoryJobQueue(lambda job, steps: process_recording(job, ports, steps))

    async def submit(self, request: JobRequest, upload: Upload = UPLOAD, **options: Any) -> str:
        job_id = new_job_id("acme")
        job = await submit_job(
            self.queue, self.ports.reader, tenant="acme", job_id=job_id, request=request, upload=upload, **options
        )
        return job.job_id

    async def finish(self, job_id: str) -> None:
        async with asyncio.timeout(10):
            async for _ in self.queue.events("acme", job_id):
                pass


@pytest.fixture
async def world() -> AsyncIterator[World]:
    passages = InMemoryPassageStore()
    world = World(await fake_ports(passages=passages), passages)
    yield world
    await world.queue.close()


REQUEST = JobRequest(features=("diarization", "index"), collection="biology")


class TestSubmit:
    async def test_a_submitted_job_runs(self, world: World) -> None:
        job_id = await world.submit(REQUEST)
        await world.finish(job_id)
        job, result = await read_job(world.queue, world.ports.artifacts, "acme", job_id)
        assert job.status is JobStatus.SUCCEEDED
        assert result is not None
        assert result.speakers == ("SPEAKER_00", "SPEAKER_01")
        _, revision = await read_transcript(world.queue, world.ports.artifacts, "acme", job_id)
        assert revision is not None
        assert [segment.speaker for segment in revision.transcript.segments] == [
            "SPEAKER_00",
            "SPEAKER_01",
            "SPEAKER_00",
        ]

    async def test_what_is_no_audio_is_refused_before_it_is_a_job(self, world: World) -> None:
        await world.ports.artifacts.write(UPLOAD.artifact, b"text named .wav")
        with pytest.raises(UnsupportedMedia):
            await world.submit(REQUEST)
        assert (await world.queue.depth("acme")).total_waiting == 0

    async def test_too_short_and_too_long_are_refused(self, world: World) -> None:
        with pytest.raises(DiarizationTooLong):
            await world.submit(REQUEST, options=ProcessingOptions(max_diarization_s=30.0))
        await world.ports.artifacts.write(UPLOAD.artifact, write_wav((), duration_s=0.5))
        with pytest.raises(AudioTooShort):
            await world.submit(REQUEST)

    async def test_a_feature_that_is_not_offered_is_refused(self, world: World) -> None:
        with pytest.raises(NotAvailable):
            await world.submit(REQUEST, offered=["raw_transcript"])

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"features": ()}, "features"),
            ({"features": ("index",)}, "collection"),
            ({"features": ("summary",)}, "template_id"),
            ({"features": ("translation",)}, "target_language"),
            ({"features": ("classification",)}, "labels"),
            ({"num_speakers": 0}, "num_speakers"),
            ({"max_speakers": -1}, "max_speakers"),
            ({"min_speakers": 3, "max_speakers": 2}, "min_speakers"),
            ({"num_speakers": 2, "max_speakers": 2}, "num_speakers"),
        ],
    )
    def test_fields_that_do_not_agree(self, fields: dict[str, Any], param: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            check_request(JobRequest(**fields), tuple(FEATURES))
        assert caught.value.param == param


class TestIdentity:
    def test_ids_sort_by_time_and_keys_give_the_same_id(self) -> None:
        first, second = new_job_id("acme"), new_job_id("acme")
        assert first < second
        assert new_job_id("acme", "key") == new_job_id("acme", "key")
        others = {new_job_id("acme", "key"), new_job_id("globex", "key"), new_job_id("acme", "other")}
        assert len(others) == 3

    def test_the_hash_sees_fields_name_and_bytes_but_not_order(self) -> None:
        request = JobRequest(features=("index", "diarization"), metadata={"a": "1", "b": "2"})
        same = replace(request, features=("diarization", "index"), metadata={"b": "2", "a": "1"})
        assert hash_submission(request, UPLOAD) == hash_submission(same, replace(UPLOAD, artifact="elsewhere"))
        for other in (replace(UPLOAD, sha256="1" * 64), replace(UPLOAD, filename="x.wav")):
            assert hash_submission(request, UPLOAD) != hash_submission(request, other)
        assert hash_submission(request, UPLOAD) != hash_submission(replace(request, language="de"), UPLOAD)


class TestReading:
    async def test_a_waiting_job_has_no_result(self, world: World) -> None:
        queue = InMemoryJobQueue()
        job = new_job()
        await queue.enqueue(job)
        assert (await read_job(queue, world.ports.artifacts, "acme", job.job_id))[1] is None

    async def test_a_failed_job_has_what_its_stages_left(self) -> None:
        class BadDiarizer(FakeDiarizer):
            async def diarize(self, samples: object, options: object) -> Any:
                raise InvalidRequest("no")

        ports = await fake_ports(diarizer=BadDiarizer())
        queue = InMemoryJobQueue(lambda job, steps: process_recording(job, ports, steps))
        job = new_job()
        await queue.enqueue(job)
        async for _ in queue.events(job.tenant, job.job_id):
            pass
        failed, result = await read_job(queue, ports.artifacts, job.tenant, job.job_id)
        assert failed.status is JobStatus.FAILED
        assert result is not None
        assert result.recording is not None
        assert result.recording.duration_s == pytest.approx(65.5)
        assert "diarizer" not in result.versions


class TestErasing:
    async def test_nothing_is_left(self, world: World) -> None:
        job_id = await world.submit(REQUEST)
        await world.finish(job_id)
        assert await world.passages.passages("acme", "biology", job_id) != ()
        await erase_job(world.queue, world.ports.artifacts, world.passages, "acme", job_id)
        assert await world.ports.artifacts.list_keys(f"acme/{job_id}") == ()
        assert await world.passages.passages("acme", "biology", job_id) == ()
        with pytest.raises(NotFound):
            await world.queue.get("acme", job_id)
        with pytest.raises(NotFound):
            await erase_job(world.queue, world.ports.artifacts, world.passages, "acme", job_id)

    async def test_the_record_outlives_a_store_that_is_away(self, world: World) -> None:
        job_id = await world.submit(REQUEST)
        await world.finish(job_id)
        world.passages.down = True
        with pytest.raises(PassageStoreUnavailable):
            await erase_job(world.queue, world.ports.artifacts, world.passages, "acme", job_id)
        world.passages.down = False
        await erase_job(world.queue, world.ports.artifacts, world.passages, "acme", job_id)

    async def test_another_tenants_job_is_not_found(self, world: World) -> None:
        job_id = await world.submit(REQUEST)
        with pytest.raises(NotFound):
            await erase_job(world.queue, world.ports.artifacts, world.passages, "globex", job_id)
