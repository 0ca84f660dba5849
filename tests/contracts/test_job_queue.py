"""What every JobQueue promises, over the fake, and over DBOS on SQLite and PostgreSQL."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from pipelines.domain.answer import Answer, ChatRequest, Message
from pipelines.domain.audio import Window
from pipelines.domain.encoding import from_plain
from pipelines.domain.job import Feature, JobEvent, JobFilters, JobKind, JobRequest, JobStatus, NewJob, Stage
from pipelines.domain.transcript import Diarization, DiarizationOptions, TranscriptionOptions, WindowTranscript
from pipelines.errors import IdempotencyConflict, InvalidRequest, JobEnded, JobNotFailed, NotFound, QueueFull
from pipelines.fakes.jobs import InMemoryJobQueue
from pipelines.fakes.language import ScriptedAnswer, ScriptedLanguageModel
from pipelines.fakes.models import FakeDiarizer, FakeEmbedder, FakeTranscriber
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.flows.chat_ports import ChatPorts
from pipelines.flows.erase_job import erase_job
from pipelines.flows.job_flows import RequestPorts, job_flows, run_job
from pipelines.flows.read_job import read_job
from pipelines.flows.recording_ports import RecordingPorts
from pipelines.flows.submit_request import keep_request, new_request_job
from pipelines.ports import JobQueue
from pipelines.steps.check_queue_room import QueueLimits
from pipelines.stores.dbos_jobs import DbosJobQueue
from pipelines.stores.dbos_runner import DbosJobRunner, RunnerOptions
from tests.contracts.test_passage_store import PASSAGES, fill
from tests.flows.recordings import DIALOGUE, fake_ports, new_job
from tests.postgres import new_database

LIMITS = QueueLimits(per_tenant=4, total=6)


class Harness(Protocol):
    """A queue, and what runs its jobs."""

    @property
    def queue(self) -> JobQueue: ...
    async def start(self, ports: RecordingPorts, requests: RequestPorts | None = None) -> None: ...
    async def close(self) -> None: ...


class FakeHarness:
    def __init__(self) -> None:
        self.queue = InMemoryJobQueue(limits=LIMITS)

    async def start(self, ports: RecordingPorts, requests: RequestPorts | None = None) -> None:
        flows = job_flows(ports, requests)
        await self.queue.start(lambda job, steps: run_job(flows, job, steps))

    async def close(self) -> None:
        await self.queue.close()


class DbosHarness:
    def __init__(self, url: str, queue: DbosJobQueue) -> None:
        self._url = url
        self.queue = queue
        self._runner: DbosJobRunner | None = None

    async def start(self, ports: RecordingPorts, requests: RequestPorts | None = None) -> None:
        options = RunnerOptions(concurrency=1, polling_interval_s=0.02, stage_patience_s=0.0)
        self._runner = await DbosJobRunner.launch(self._url, ports, options, requests=requests)

    async def close(self) -> None:
        if self._runner:
            await self._runner.close()
        await self.queue.close()


@pytest.fixture(params=["fake", "dbos on sqlite", "dbos on postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    if request.param == "dbos on postgresql":
        with new_database() as url:
            yield url
    else:
        yield None if request.param == "fake" else f"sqlite:///{tmp_path}/jobs.sqlite"


@pytest.fixture
async def harness(database_url: str | None) -> AsyncIterator[Harness]:
    harness: Harness = FakeHarness()
    if database_url is not None:
        harness = DbosHarness(database_url, await DbosJobQueue.connect(database_url, LIMITS))
    yield harness
    await harness.close()


@pytest.fixture
def queue(harness: Harness) -> JobQueue:
    return harness.queue


class GatedTranscriber(FakeTranscriber):
    """Waits in every window until the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        self.entered.set()
        await self.gate.wait()
        return await super().transcribe(window, options)


class RefusingDiarizer(FakeDiarizer):
    """Fails until it is repaired."""

    broken = True

    async def diarize(self, samples: object, options: DiarizationOptions) -> Diarization:
        if self.broken:
            raise InvalidRequest("this voice cannot be diarized", "num_speakers")
        return await super().diarize(samples, options)


async def collect(queue: JobQueue, job: NewJob, after: int = -1) -> list[JobEvent]:
    async with asyncio.timeout(30):
        return [event async for event in queue.events(job.tenant, job.job_id, after=after)]


class TestWaiting:
    async def test_an_acknowledged_job_waits(self, queue: JobQueue) -> None:
        job = new_job()
        seen = await queue.enqueue(job)
        assert seen == await queue.get(job.tenant, job.job_id)
        assert (seen.status, seen.stage, seen.progress, seen.queue_position) == (JobStatus.QUEUED, None, 0.0, 1)
        assert (seen.request, seen.upload, seen.created_at) == (job.request, job.upload, job.created_at)
        assert (seen.started_at, seen.finished_at, seen.attempts, seen.error) == (None, None, 0, None)

    async def test_places_follow_priority_and_then_age(self, queue: JobQueue) -> None:
        jobs = [
            new_job(priority=priority, created_at=f"2026-11-20T10:00:0{number}.000Z")
            for number, priority in enumerate(["low", "normal", "high", "normal"])
        ]
        for job in jobs:
            await queue.enqueue(job)
        places = [(await queue.get(job.tenant, job.job_id)).queue_position for job in jobs]
        assert places == [4, 2, 1, 3]

    async def test_another_tenants_jobs_are_not_ahead(self, queue: JobQueue) -> None:
        await queue.enqueue(new_job(tenant="globex"))
        assert (await queue.enqueue(new_job())).queue_position == 1

    async def test_the_same_id_and_body_is_one_job(self, queue: JobQueue) -> None:
        job = new_job()
        assert await queue.enqueue(job) == await queue.enqueue(job)
        assert (await queue.depth(job.tenant)).tenant_waiting == 1

    @pytest.mark.parametrize("change", [{"body_hash": "other"}, {"tenant": "globex"}])
    async def test_the_same_id_with_another_body_conflicts(self, queue: JobQueue, change: dict[str, str]) -> None:
        job = new_job()
        await queue.enqueue(job)
        with pytest.raises(IdempotencyConflict):
            await queue.enqueue(new_job(job_id=job.job_id, **change))

    async def test_a_full_queue_refuses_one_tenant(self, queue: JobQueue) -> None:
        jobs = [new_job() for _ in range(LIMITS.per_tenant)]
        for job in jobs:
            await queue.enqueue(job)
        with pytest.raises(QueueFull) as caught:
            await queue.enqueue(new_job())
        assert (caught.value.retry_after_s or 0) >= 1
        await queue.enqueue(new_job(tenant="globex"))
        assert (await queue.enqueue(jobs[0])).job_id == jobs[0].job_id

    async def test_a_full_queue_refuses_everyone(self, queue: JobQueue) -> None:
        for tenant in ("acme", "globex"):
            for _ in range(LIMITS.total // 2):
                await queue.enqueue(new_job(tenant=tenant))
        with pytest.raises(QueueFull):
            await queue.enqueue(new_job(tenant="initech"))
        depth = await queue.depth("acme")
        assert (depth.tenant_waiting, depth.total_waiting) == (LIMITS.total // 2, LIMITS.total)

    async def test_a_cancelled_job_leaves_the_queue(self, queue: JobQueue) -> None:
        first, second = new_job(), new_job()
        await queue.enqueue(first)
        await queue.enqueue(second)
        assert (await queue.cancel(first.tenant, first.job_id)).status is JobStatus.CANCELLED
        assert (await queue.get(second.tenant, second.job_id)).queue_position == 1
        assert [event.type for event in await collect(queue, first)] == ["queued", "cancelled"]
        with pytest.raises(JobEnded):
            await queue.cancel(first.tenant, first.job_id)
        with pytest.raises(JobNotFailed):
            await queue.retry(first.tenant, first.job_id)

    async def test_an_erased_job_is_gone(self, queue: JobQueue) -> None:
        job = new_job()
        await queue.enqueue(job)
        await queue.erase(job.tenant, job.job_id)
        with pytest.raises(NotFound):
            await queue.get(job.tenant, job.job_id)
        assert (await queue.depth(job.tenant)).total_waiting == 0

    async def test_whoever_watches_an_erased_job_learns_that_it_is_gone(self, queue: JobQueue) -> None:
        job = new_job()
        await queue.enqueue(job)
        events = queue.events(job.tenant, job.job_id)
        assert (await anext(events)).type == "queued"
        following = asyncio.ensure_future(anext(events))
        await queue.erase(job.tenant, job.job_id)
        with pytest.raises(NotFound):
            await asyncio.wait_for(following, 20)

    @pytest.mark.parametrize("tenant", ["acme", "globex"])
    async def test_unknown_and_foreign_jobs_cannot_be_told_apart(self, queue: JobQueue, tenant: str) -> None:
        job = new_job(tenant="initech")
        await queue.enqueue(job)
        job_id = job.job_id if tenant == "globex" else "0192aaaa-0000-7000-8000-000000000000"
        calls: list[Callable[[str, str], Awaitable[object]]] = [
            queue.get,
            queue.cancel,
            queue.retry,
            queue.erase,
            queue.settle,
        ]
        for call in calls:
            with pytest.raises(NotFound):
                await call(tenant, job_id)
        with pytest.raises(NotFound):
            await anext(queue.events(tenant, job_id))


class TestListing:
    async def test_pages_come_newest_first_and_complete(self, queue: JobQueue) -> None:
        jobs = [new_job(created_at=f"2026-11-20T10:00:00.00{number}Z") for number in range(4)]
        for job in [*jobs, new_job(tenant="globex")]:
            await queue.enqueue(job)
        first = await queue.list_jobs("acme", JobFilters(), cursor=None, limit=3)
        second = await queue.list_jobs("acme", JobFilters(), cursor=first.next_cursor, limit=3)
        assert second.next_cursor is None
        found = [job.job_id for job in first.jobs + second.jobs]
        assert found == [job.job_id for job in reversed(jobs)]
        assert [job.queue_position for job in first.jobs] == [4, 3, 2]

    async def test_a_page_that_is_just_full_is_the_last(self, queue: JobQueue) -> None:
        for _ in range(2):
            await queue.enqueue(new_job())
        assert (await queue.list_jobs("acme", JobFilters(), cursor=None, limit=2)).next_cursor is None

    async def test_filters(self, queue: JobQueue) -> None:
        biology, physics, waiting = (new_job(collection=name) for name in ("biology", "physics", "biology"))
        for job in (biology, physics, waiting):
            await queue.enqueue(job)
        for job in (biology, physics):
            await queue.cancel(job.tenant, job.job_id)
        cases: list[tuple[JobFilters, list[NewJob]]] = [
            (JobFilters(status=JobStatus.CANCELLED), [biology, physics]),
            (JobFilters(status=JobStatus.QUEUED), [waiting]),
            (JobFilters(status=JobStatus.FAILED), []),
            (JobFilters(collection="biology"), [biology, waiting]),
            (JobFilters(collection="biology", status=JobStatus.CANCELLED), [biology]),
            (JobFilters(created_after="2000-01-01T00:00:00Z"), [biology, physics, waiting]),
            (JobFilters(created_before="2000-01-01T00:00:00+01:00"), []),
        ]
        for filters, expected in cases:
            page = await queue.list_jobs("acme", filters, cursor=None, limit=10)
            assert {job.job_id for job in page.jobs} == {job.job_id for job in expected}, filters

    @pytest.mark.parametrize("cursor", ["x", "bm90IGpzb24", "", "W10", "bnVsbA", "é", "n-1", "e30"])
    async def test_a_made_up_cursor_is_refused(self, queue: JobQueue, cursor: str) -> None:
        if cursor:
            with pytest.raises(InvalidRequest):
                await queue.list_jobs("acme", JobFilters(), cursor=cursor, limit=3)

    async def test_a_made_up_time_is_refused(self, queue: JobQueue) -> None:
        with pytest.raises(InvalidRequest):
            await queue.list_jobs("acme", JobFilters(created_after="yesterday"), cursor=None, limit=3)


class TestRunning:
    async def test_a_job_runs_and_tells(self, harness: Harness) -> None:
        job = new_job()
        await harness.queue.enqueue(job)
        await harness.start(await fake_ports())
        events = await collect(harness.queue, job)
        assert [event.id for event in events] == list(range(len(events)))
        types = [event.type for event in events]
        assert types[:3] == ["queued", "started", "stage"]
        assert types[-1] == "succeeded"
        assert types.count("started") == types.count("succeeded") == 1
        windows = [event.data for event in events if event.type == "window"]
        assert [window["text"] for window in windows] == [utterance.text for utterance in DIALOGUE]
        progress = [event.data["progress"] for event in events if "progress" in event.data]
        assert progress == sorted(progress)  # type: ignore[type-var]  # numbers
        seen = await harness.queue.get(job.tenant, job.job_id)
        assert (seen.status, seen.stage, seen.progress, seen.attempts) == (JobStatus.SUCCEEDED, None, 1.0, 1)
        assert seen.created_at < (seen.started_at or "") <= (seen.finished_at or "")
        assert seen.queue_position is None
        with pytest.raises(JobEnded):
            await harness.queue.cancel(job.tenant, job.job_id)

    async def test_events_resume_after_any_of_them(self, harness: Harness) -> None:
        job = new_job(Feature.RAW_TRANSCRIPT)
        await harness.queue.enqueue(job)
        await harness.start(await fake_ports())
        events = await collect(harness.queue, job)
        for place, event in enumerate(events):
            assert await collect(harness.queue, job, after=event.id) == events[place + 1 :]

    async def test_events_come_while_the_job_runs(self, harness: Harness) -> None:
        job, transcriber = new_job(Feature.RAW_TRANSCRIPT), GatedTranscriber()
        await harness.queue.enqueue(job)
        await harness.start(await fake_ports(transcriber=transcriber))
        seen: list[str] = []
        async with asyncio.timeout(30):
            async for event in harness.queue.events(job.tenant, job.job_id):
                seen.append(event.type)
                if event.data.get("stage") == "transcribe" and not transcriber.gate.is_set():
                    running = await harness.queue.get(job.tenant, job.job_id)
                    assert (running.status, running.finished_at) == (JobStatus.RUNNING, None)
                    transcriber.gate.set()
        assert seen[-1] == "succeeded"

    async def test_a_failed_job_says_why_and_goes_on_when_told_to(self, harness: Harness) -> None:
        job, transcriber, diarizer = new_job(), FakeTranscriber(), RefusingDiarizer()
        await harness.queue.enqueue(job)
        await harness.start(await fake_ports(transcriber=transcriber, diarizer=diarizer))
        events = await collect(harness.queue, job)
        assert events[-1].type == "failed"
        failed = await harness.queue.get(job.tenant, job.job_id)
        assert failed.status is JobStatus.FAILED
        assert failed.error is not None
        assert (failed.error.code, failed.error.stage) == ("invalid_field", Stage.DIARIZE)
        assert (failed.error.message, failed.error.param) == ("this voice cannot be diarized", "num_speakers")
        assert events[-1].data["error"] == {
            "message": failed.error.message,
            "code": failed.error.code,
            "stage": "diarize",
            "param": "num_speakers",
            "type": "job_error",
        }
        diarizer.broken = False
        await harness.queue.retry(job.tenant, job.job_id)
        again = await collect(harness.queue, job, after=events[-2].id)
        assert again[-1].type == "succeeded"
        assert "failed" not in [event.type for event in again]
        done = await harness.queue.get(job.tenant, job.job_id)
        assert (done.status, done.attempts, done.error) == (JobStatus.SUCCEEDED, 2, None)

    async def test_a_running_job_is_cancelled_within_seconds(self, harness: Harness) -> None:
        job, transcriber = new_job(Feature.RAW_TRANSCRIPT), GatedTranscriber()
        await harness.queue.enqueue(job)
        await harness.start(await fake_ports(transcriber=transcriber))
        async with asyncio.timeout(20):
            await transcriber.entered.wait()
        assert (await harness.queue.cancel(job.tenant, job.job_id)).status is JobStatus.CANCELLED
        async with asyncio.timeout(5):
            await harness.queue.settle(job.tenant, job.job_id)
        transcriber.gate.set()
        events = await collect(harness.queue, job)
        assert events[-1].type == "cancelled"
        assert transcriber.windows == []

    async def test_ended_jobs_tell_how_fast_the_queue_drains(self, harness: Harness) -> None:
        await harness.start(await fake_ports())
        job = new_job(Feature.RAW_TRANSCRIPT)
        await harness.queue.enqueue(job)
        await collect(harness.queue, job)
        depth = await harness.queue.depth(job.tenant)
        assert (depth.tenant_waiting, depth.total_waiting) == (0, 0)


QUESTION = ChatRequest(messages=(Message(role="user", content="when is the exam"),), collections=("notes",))


class TestOtherKinds:
    """A chat stands for all jobs about no recording: the queue does not look into them."""

    @pytest.fixture
    async def ports(self) -> RecordingPorts:
        return await fake_ports()

    async def asked(self, ports: RecordingPorts, job_id: str) -> NewJob:
        upload = await keep_request(ports.artifacts, f"a/{job_id}/upload-1", JobKind.CHAT, QUESTION)
        request = JobRequest(features=(), collection="notes", priority="high")
        return new_request_job("a", job_id, JobKind.CHAT, request, upload)

    def chat(self, passages: InMemoryPassageStore, model: ScriptedLanguageModel) -> RequestPorts:
        return RequestPorts(chat=ChatPorts(embedder=FakeEmbedder(), passages=passages, language_model=model))

    async def test_a_chat_waits_among_recordings_and_is_listed_with_them(
        self, queue: JobQueue, ports: RecordingPorts
    ) -> None:
        recording, chat = new_job(tenant="a"), await self.asked(ports, str(uuid.uuid4()))
        await queue.enqueue(recording)
        seen = await queue.enqueue(chat)
        assert seen == await queue.enqueue(chat) == await queue.get("a", chat.job_id)
        assert (seen.kind, seen.queue_position, seen.request, seen.upload) == (
            JobKind.CHAT, 1, chat.request, chat.upload,
        )  # fmt: skip
        assert (await queue.get("a", recording.job_id)).queue_position == 2
        page = await queue.list_jobs("a", JobFilters(collection="notes"), cursor=None, limit=5)
        assert [(job.job_id, job.kind) for job in page.jobs] == [(chat.job_id, JobKind.CHAT)]

    async def test_a_chat_runs_and_tells(self, harness: Harness, ports: RecordingPorts) -> None:
        passages = InMemoryPassageStore()
        await fill(passages, *PASSAGES)
        job = await self.asked(ports, str(uuid.uuid4()))
        await harness.queue.enqueue(job)
        await harness.start(ports, self.chat(passages, ScriptedLanguageModel(["On Friday."])))
        events = await collect(harness.queue, job)
        assert [event.type for event in events] == ["queued", "started", "stage", "succeeded"]
        assert events[2].data == {"stage": "answer", "progress": 0.0}
        seen = await harness.queue.get("a", job.job_id)
        assert (seen.status, seen.kind, seen.progress, seen.attempts) == (JobStatus.SUCCEEDED, JobKind.CHAT, 1.0, 1)
        _, result = await read_job(harness.queue, ports.artifacts, "a", job.job_id)
        assert result is not None
        assert from_plain(Answer, result.results["chat"]).text == "On Friday."

    async def test_a_failed_chat_says_why_and_goes_on_when_told_to(
        self, harness: Harness, ports: RecordingPorts
    ) -> None:
        passages = InMemoryPassageStore()
        job = await self.asked(ports, str(uuid.uuid4()))
        await harness.queue.enqueue(job)
        await harness.start(ports, self.chat(passages, ScriptedLanguageModel(["On Friday."])))
        events = await collect(harness.queue, job)
        failed = await harness.queue.get("a", job.job_id)
        assert (events[-1].type, failed.status, failed.stage) == ("failed", JobStatus.FAILED, Stage.ANSWER)
        assert failed.error is not None
        assert (failed.error.code, failed.error.stage) == ("not_found", "answer")
        await fill(passages, *PASSAGES)
        await harness.queue.retry("a", job.job_id)
        assert (await collect(harness.queue, job, after=events[-2].id))[-1].type == "succeeded"
        done = await harness.queue.get("a", job.job_id)
        assert (done.status, done.attempts, done.error) == (JobStatus.SUCCEEDED, 2, None)

    async def test_a_running_chat_is_cancelled_and_erased_without_a_trace(
        self, harness: Harness, ports: RecordingPorts
    ) -> None:
        passages = InMemoryPassageStore()
        await fill(passages, *PASSAGES)
        model = ScriptedLanguageModel([ScriptedAnswer(gate=asyncio.Event())])
        job = await self.asked(ports, str(uuid.uuid4()))
        await harness.queue.enqueue(job)
        await harness.start(ports, self.chat(passages, model))
        async with asyncio.timeout(30):
            async for event in harness.queue.events("a", job.job_id):
                if event.type == "stage":
                    break
        await erase_job(harness.queue, ports.artifacts, passages, "a", job.job_id)
        with pytest.raises(NotFound):
            await harness.queue.get("a", job.job_id)
        assert await ports.artifacts.list_keys(f"a/{job.job_id}") == ()
        assert len(await passages.passages("a", "notes", PASSAGES[0].job_id)) > 0
