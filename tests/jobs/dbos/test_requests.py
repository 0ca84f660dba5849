"""Jobs about no recording on the DBOS runner: they go on when it dies, and leave no words in its database."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.domain.answer import ChatRequest, Message
from pipelines.domain.job import JobKind, JobRequest, JobStatus, NewJob
from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Embedding
from pipelines.errors import Conflict, NotFound
from pipelines.fakes.language import ScriptedLanguageModel
from pipelines.fakes.models import FakeEmbedder
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.jobs.artifacts import load_result
from pipelines.jobs.dbos.queue import DbosJobQueue
from pipelines.jobs.dbos.retention import Retention
from pipelines.jobs.dbos.runner import DbosJobRunner, RunnerOptions
from pipelines.jobs.erasures import Eraser
from pipelines.jobs.run import RequestPorts
from pipelines.jobs.single_stage import ReindexPorts
from pipelines.jobs.submit import keep_request, new_request_job
from pipelines.ports.passages import Replacement, ReplacementState
from pipelines.retrieval.indexing import BATCH
from pipelines.retrieval.ports import ChatPorts
from tests.contracts.test_passage_store import PASSAGES, fill, passage
from tests.jobs.dbos.test_runner import World, stored_values
from tests.jobs.recordings import fake_ports

QUESTION = ChatRequest(messages=(Message(role="user", content="when is the exam"),), collections=("notes",))


class HeldEmbedder(FakeEmbedder):
    """Another model; from batch ``held_at`` on it never answers."""

    vector_size = 32

    def __init__(self, *, held_at: int | None = None) -> None:
        super().__init__()
        self.batches = 0
        self.held = asyncio.Event()
        self._held_at = held_at

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        self.batches += 1
        if self.batches == self._held_at:
            self.held.set()
            await asyncio.Event().wait()
        return await super().embed_passages(texts)

    async def info(self) -> EmbedderInfo:
        return replace(await super().info(), name="other")


class RequestWorld(World):
    """A database, a runner, and what it answers with."""

    def __init__(self, path: Path, queue: DbosJobQueue) -> None:
        super().__init__(path, queue)
        self.artifacts = InMemoryArtifactStore()
        self.passages = InMemoryPassageStore()

    async def enqueue(self, kind: JobKind, asked: object) -> NewJob:
        job_id = str(uuid.uuid4())
        upload = await keep_request(self.artifacts, f"a/{job_id}/upload-1", kind, asked)
        job = new_request_job("a", job_id, kind, JobRequest(features=(), collection="notes"), upload)
        await self.queue.enqueue(job)
        return job

    async def begin(self, embedder: FakeEmbedder) -> None:
        requests = RequestPorts(
            chat=ChatPorts(
                embedder=FakeEmbedder(),
                passages=self.passages,
                language_model=ScriptedLanguageModel(["In May they say."]),
            ),
            reindexing=ReindexPorts(embedder=embedder, passages=self.passages, replacer=self.passages),
        )
        self.runner = await DbosJobRunner.launch(
            self.url, await fake_ports(self.artifacts), RunnerOptions(polling_interval_s=0.02), requests=requests
        )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[RequestWorld]:
    path = tmp_path / "jobs.sqlite"
    world = RequestWorld(path, await DbosJobQueue.connect(f"sqlite:///{path}"))
    yield world
    await world.stop()
    await world.queue.close()


async def test_a_reindexing_whose_runner_goes_away_goes_on_from_its_last_note(world: RequestWorld) -> None:
    await fill(world.passages, *(passage(f"number{n}", job="job-3", position=n) for n in range(10 * BATCH)))
    job = await world.enqueue(JobKind.REINDEX, JobRequest(features=(), collection="notes"))
    held = HeldEmbedder(held_at=10)
    await world.begin(held)
    await asyncio.wait_for(held.held.wait(), 60)
    running = await world.queue.get("a", job.job_id)
    assert (running.status, running.stage) == (JobStatus.RUNNING, "index")
    await world.stop()
    assert [info.embedder for info in await world.passages.collections("a")] == ["bag-of-words"]

    successor = HeldEmbedder()
    await world.begin(successor)

    assert (await world.finish(job))[-1].type == "succeeded"
    assert successor.batches == 1  # nine were written
    [info] = await world.passages.collections("a")
    assert (info.embedder, info.passages) == ("other", 10 * BATCH)
    assert (await world.queue.get("a", job.job_id)).attempts == 2


async def test_a_failed_reindexing_is_not_retried_while_another_one_is_under_way(world: RequestWorld) -> None:
    await fill(world.passages, *PASSAGES)
    failed = await world.enqueue(JobKind.REINDEX, JobRequest(features=(), collection="notes"))
    await world.passages.delete_collection("a", "notes")
    await world.begin(HeldEmbedder())
    assert (await world.finish(failed))[-1].type == "failed"
    await world.stop()
    chat = await world.enqueue(JobKind.CHAT, QUESTION)
    other = await world.enqueue(JobKind.REINDEX, JobRequest(features=(), collection="notes"))
    with pytest.raises(Conflict, match=other.job_id):
        await world.queue.retry("a", failed.job_id)
    await world.queue.cancel("a", other.job_id)
    assert (await world.queue.retry("a", failed.job_id)).status is JobStatus.QUEUED
    assert (await world.queue.get("a", chat.job_id)).status is JobStatus.QUEUED


@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_cancelled_reindexing_leaves_nothing_hidden(world: RequestWorld, cancelled: bool) -> None:
    await fill(world.passages, *(passage(f"number{n}", job="job-3", position=n) for n in range(2 * BATCH)))
    job = await world.enqueue(JobKind.REINDEX, JobRequest(features=(), collection="notes"))
    held = HeldEmbedder(held_at=2)
    await world.begin(held)
    await asyncio.wait_for(held.held.wait(), 60)
    if cancelled:
        await world.queue.cancel("a", job.job_id)
        await world.queue.settle("a", job.job_id)
    else:
        await world.stop()
    replacement = Replacement(tenant="a", collection="notes", embedder=await held.info(), token=job.job_id)
    found = await world.passages.begin_replacement(replacement)
    assert found is (ReplacementState.BEGUN if cancelled else ReplacementState.RESUMED)


async def test_the_database_holds_no_word_that_was_asked_or_answered(world: RequestWorld) -> None:
    await fill(world.passages, *PASSAGES)
    job = await world.enqueue(JobKind.CHAT, QUESTION)
    await world.begin(HeldEmbedder())
    assert (await world.finish(job))[-1].type == "succeeded"
    result = await load_result(world.artifacts, "a", job.job_id)
    assert result is not None
    assert "In May" in json.dumps(result.results)
    values = await asyncio.to_thread(stored_values, world.path)
    assert any(job.job_id in value for value in values)
    for words in ("when is the exam", "In May", "third of May"):
        assert not any(words in value for value in values)


async def test_an_expired_chat_is_erased_and_its_collection_is_not(world: RequestWorld) -> None:
    await fill(world.passages, *PASSAGES)
    job = await world.enqueue(JobKind.CHAT, QUESTION)
    await world.begin(HeldEmbedder())
    await world.finish(job)
    await world.stop()
    expired = Retention(
        database=world.queue.database,
        artifacts=world.artifacts,
        eraser=Eraser(queue=world.queue, artifacts=world.artifacts, passages=world.passages, journal=None),
        keep_s=-60.0,
    )
    assert await expired.erase_expired() == 1
    with pytest.raises(NotFound):
        await world.queue.get("a", job.job_id)
    assert await world.artifacts.list_keys(f"a/{job.job_id}") == ()
    [info] = await world.passages.collections("a")
    assert info.passages == len(PASSAGES)
