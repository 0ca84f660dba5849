"""The last durable step of a job: whoever is to hear of its end hears of it once, whatever dies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipelines.domain.job import JobResult, JobStatus
from pipelines.errors import JobStoreUnavailable
from pipelines.fakes.accounts import InMemoryAccounts
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.jobs.dbos.queue import DbosJobQueue
from pipelines.outbound.webhooks import EndedJob, Outbox
from tests.contracts.job_queue_harness import RefusingDiarizer
from tests.jobs.dbos.test_runner import World
from tests.jobs.recordings import fake_ports, new_job

URL = "https://example.org/hook"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    path = tmp_path / "jobs.sqlite"
    world = World(path, await DbosJobQueue.connect(f"sqlite:///{path}"))
    yield world
    await world.stop()
    await world.queue.close()


class InterruptedOutbox(Outbox):
    """Says that it was called, and hangs the first time, before or after it has written."""

    def __init__(self, store: InMemoryAccounts, *, after: bool) -> None:
        super().__init__(store)
        self.called = asyncio.Event()
        self._after = after

    async def job_ended(self, ended: EndedJob, result: JobResult | None = None) -> None:
        first = not self.called.is_set()
        if self._after or not first:
            await super().job_ended(ended, result)
        self.called.set()
        if first:
            await asyncio.Event().wait()


def events(accounts: InMemoryAccounts) -> list[str]:
    return sorted(delivery.event for delivery in accounts.deliveries.values())


@pytest.mark.parametrize("after", [False, True], ids=["before it is written", "before it is checkpointed"])
async def test_a_death_between_the_result_and_its_message_loses_none_and_doubles_none(
    world: World, after: bool
) -> None:
    accounts, artifacts = InMemoryAccounts(), InMemoryArtifactStore()
    ports, job = await fake_ports(artifacts), new_job("raw_transcript", webhook_url=URL)
    outbox = InterruptedOutbox(accounts, after=after)
    await world.launch(ports, outbox=outbox)
    await world.queue.enqueue(job)
    async with asyncio.timeout(30):
        await outbox.called.wait()
    assert len(accounts.deliveries) == after
    await world.stop()

    await world.launch(ports, outbox=outbox)
    await world.finish(job)

    assert await world.status(job) is JobStatus.SUCCEEDED
    assert events(accounts) == ["job.succeeded"]
    [day] = await accounts.usage_days(job.tenant, "0000-01-01", "9999-12-31")
    assert day.amounts["jobs"] == 1.0
    assert day.amounts["audio_s"] > 1.0


async def test_a_failure_is_told_and_so_is_the_retry(world: World) -> None:
    accounts, diarizer = InMemoryAccounts(), RefusingDiarizer()
    ports = await fake_ports(InMemoryArtifactStore(), diarizer=diarizer)
    job = new_job("raw_transcript", "diarization", webhook_url=URL)
    await world.launch(ports, outbox=Outbox(accounts))
    await world.queue.enqueue(job)
    await world.finish(job)
    assert events(accounts) == ["job.failed"]

    diarizer.broken = False
    await world.queue.retry(job.tenant, job.job_id)
    await world.finish(job)

    assert await world.status(job) is JobStatus.SUCCEEDED
    assert events(accounts) == ["job.failed", "job.succeeded"]


async def test_a_store_that_is_away_delays_the_end_and_does_not_change_it(world: World) -> None:
    accounts = InMemoryAccounts()

    class Away(Outbox):
        tried = 0

        async def job_ended(self, ended: EndedJob, result: JobResult | None = None) -> None:
            self.tried += 1
            if self.tried == 1:
                raise JobStoreUnavailable("not now", None, 0.01)
            await super().job_ended(ended, result)

    outbox = Away(accounts)
    job = new_job("raw_transcript", webhook_url=URL)
    await world.launch(await fake_ports(InMemoryArtifactStore()), outbox=outbox)
    await world.queue.enqueue(job)
    await world.finish(job)

    assert (outbox.tried, await world.status(job)) == (2, JobStatus.SUCCEEDED)
    assert events(accounts) == ["job.succeeded"]
