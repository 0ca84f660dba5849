"""What every JobQueue promises of jobs that run, over the fake, and over DBOS on SQLite and PostgreSQL."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pipelines.domain.answer import Answer, ChatRequest, Message
from pipelines.domain.encoding import from_plain
from pipelines.domain.job import JobFilters, JobKind, JobRequest, JobStatus, NewJob
from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Embedding
from pipelines.errors import Conflict, JobEnded, NotFound
from pipelines.fakes.language import ScriptedAnswer, ScriptedLanguageModel
from pipelines.fakes.models import FakeEmbedder, FakeTranscriber
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.jobs.erase import erase_job
from pipelines.jobs.ports import RecordingPorts
from pipelines.jobs.result import read_job
from pipelines.jobs.run import RequestPorts
from pipelines.jobs.single_stage import ReindexPorts
from pipelines.jobs.submit import keep_request, new_request_job
from pipelines.ports.jobs import JobQueue
from pipelines.retrieval.ports import ChatPorts
from tests.contracts.job_queue_harness import GatedTranscriber, Harness, RefusingDiarizer, collect
from tests.contracts.test_passage_store import PASSAGES, fill
from tests.jobs.recordings import DIALOGUE, fake_ports, new_job


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
        assert [window["window"] for window in windows] == list(range(len(DIALOGUE)))
        progress = [event.data["progress"] for event in events if "progress" in event.data]
        assert progress == sorted(progress)  # type: ignore[type-var]  # numbers
        seen = await harness.queue.get(job.tenant, job.job_id)
        assert (seen.status, seen.stage, seen.progress, seen.attempts) == (JobStatus.SUCCEEDED, None, 1.0, 1)
        assert seen.created_at < (seen.started_at or "") <= (seen.finished_at or "")
        assert seen.queue_position is None
        with pytest.raises(JobEnded):
            await harness.queue.cancel(job.tenant, job.job_id)

    async def test_events_resume_after_any_of_them(self, harness: Harness) -> None:
        job = new_job("raw_transcript")
        await harness.queue.enqueue(job)
        await harness.start(await fake_ports())
        events = await collect(harness.queue, job)
        for place, event in enumerate(events):
            assert await collect(harness.queue, job, after=event.id) == events[place + 1 :]

    async def test_events_come_while_the_job_runs(self, harness: Harness) -> None:
        job, transcriber = new_job("raw_transcript"), GatedTranscriber()
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
        assert (failed.error.code, failed.error.stage) == ("invalid_field", "diarize")
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
        job, transcriber = new_job("raw_transcript"), GatedTranscriber()
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
        job = new_job("raw_transcript")
        await harness.queue.enqueue(job)
        await collect(harness.queue, job)
        depth = await harness.queue.depth(job.tenant)
        assert (depth.tenant_waiting, depth.total_waiting) == (0, 0)


class HeldEmbedder(FakeEmbedder):
    """Another model, which never answers."""

    async def info(self) -> EmbedderInfo:
        return replace(await super().info(), name="other")

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        await asyncio.Event().wait()
        return ()


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
        assert (events[-1].type, failed.status, failed.stage) == ("failed", JobStatus.FAILED, "answer")
        assert failed.error is not None
        assert (failed.error.code, failed.error.stage) == ("not_found", "answer")
        await fill(passages, *PASSAGES)
        await harness.queue.retry("a", job.job_id)
        assert (await collect(harness.queue, job, after=events[-2].id))[-1].type == "succeeded"
        done = await harness.queue.get("a", job.job_id)
        assert (done.status, done.attempts, done.error) == (JobStatus.SUCCEEDED, 2, None)

    async def test_a_failed_reindexing_is_not_retried_while_another_one_is_under_way(
        self, harness: Harness, ports: RecordingPorts
    ) -> None:
        request = JobRequest(features=(), collection="notes")
        failing, other = [
            new_request_job(
                "a",
                str(uuid.uuid4()),
                JobKind.REINDEX,
                request,
                await keep_request(ports.artifacts, f"a/{n}", JobKind.REINDEX, request),
            )
            for n in range(2)
        ]
        passages, embedder = InMemoryPassageStore(), HeldEmbedder()
        reindexing = ReindexPorts(embedder=embedder, passages=passages, replacer=passages)
        await harness.queue.enqueue(failing)
        await harness.start(ports, RequestPorts(reindexing=reindexing))
        assert (await collect(harness.queue, failing))[-1].type == "failed"  # there is no such collection yet
        await fill(passages, *PASSAGES)
        await harness.queue.enqueue(other)
        with pytest.raises(Conflict, match=other.job_id):
            await harness.queue.retry("a", failing.job_id)
        await harness.queue.cancel("a", other.job_id)
        await harness.queue.settle("a", other.job_id)
        await harness.queue.retry("a", failing.job_id)

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
