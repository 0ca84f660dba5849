"""The artifact store and the job queue under the policy table."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.domain.job import JobFilters
from pipelines.errors import (
    ArtifactNotFound,
    ArtifactStoreUnavailable,
    JobStoreUnavailable,
    NotFound,
    QueueFull,
    RayScribeError,
)
from pipelines.fakes.jobs import InMemoryJobQueue
from pipelines.ports.artifacts import KeepsHouse
from pipelines.ports.jobs import JobQueue
from pipelines.stores.artifacts import FsspecArtifactStore
from serve_app.remote.guarded import guarded
from serve_app.remote.policy_table import policy_table
from serve_app.resilience import Guard
from serve_app.settings import Policy, ResilienceSettings
from tests.jobs.recordings import new_job

POLICY = Policy(timeout_s=5.0, retries=3, failures_to_open=5, open_s=30.0)
TABLE = policy_table(ResilienceSettings(artifacts=POLICY, jobs=POLICY))
KEY = "acme/job/result.json"


class Flaky:
    """Any object, whose next calls of the named coroutine methods fail."""

    def __init__(self, target: object, *methods: str) -> None:
        self._target = target
        self._methods = methods
        self.failures: list[RayScribeError] = []
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in self._methods:
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.failures:
                raise self.failures.pop(0)
            return await found(*args, **kwargs)

        return call


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off is tenacity's business; here it takes no time."""
    monkeypatch.setattr("serve_app.resilience.wait_random_exponential", lambda **_: lambda _: 0.0)


@pytest.fixture
def flaky(tmp_path: Path) -> Flaky:
    return Flaky(FsspecArtifactStore(str(tmp_path)), "write", "read", "size", "list_keys", "delete_tree")


@pytest.fixture
def store(flaky: Flaky) -> KeepsHouse:
    return guarded(KeepsHouse, flaky, Guard(), TABLE[KeepsHouse])


async def test_a_store_that_fails_for_a_moment_is_asked_again(flaky: Flaky, store: KeepsHouse) -> None:
    flaky.failures = [ArtifactStoreUnavailable("away")] * 2
    await store.write(KEY, b"data")
    flaky.failures = [ArtifactStoreUnavailable("away")]
    assert await store.read(KEY) == b"data"
    assert await store.size(KEY) == 4
    assert await store.list_keys("acme/job") == (KEY,)
    assert [chunk async for chunk in store.read_range(KEY, 0, 2)] == [b"da"]
    with store.open(KEY) as file:
        assert file.read() == b"data"
    await store.delete_tree("acme/job")
    with pytest.raises(ArtifactNotFound):
        await store.read(KEY)
    assert flaky.calls == 3 + 2 + 1 + 1 + 1 + 1


async def test_a_store_that_stays_away_is_left_alone_for_a_while(flaky: Flaky) -> None:
    guard = Guard()
    store = guarded(KeepsHouse, flaky, guard, TABLE[KeepsHouse])
    flaky.failures = [ArtifactStoreUnavailable("away")] * 20
    for _ in range(2):
        with pytest.raises(ArtifactStoreUnavailable):
            await store.read(KEY)
    assert (flaky.calls, guard.states) == (5, {"artifact store": "open"})
    with pytest.raises(ArtifactStoreUnavailable, match="left alone") as refused:
        await store.size(KEY)
    assert refused.value.retry_after_s == pytest.approx(30.0, abs=5.0)


async def test_a_stream_is_written_once_and_never_again(store: KeepsHouse) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"data"
        raise ArtifactStoreUnavailable("the disk is full")

    with pytest.raises(ArtifactStoreUnavailable, match="full"):
        await store.write_stream(KEY, broken())
    assert await store.keys() == ()


async def test_it_keeps_house(store: KeepsHouse) -> None:
    assert isinstance(store, KeepsHouse)
    await store.write(KEY, b"data")
    assert await store.keys() == (KEY,)
    assert await store.age_s(KEY) < 60.0
    assert await store.sweep() == 0


async def test_a_database_that_fails_for_a_moment_is_asked_again() -> None:
    flaky = Flaky(InMemoryJobQueue(None), "enqueue", "get", "list_jobs", "depth")
    queue = guarded(JobQueue, flaky, Guard(), TABLE[JobQueue])
    job = new_job()
    flaky.failures = [JobStoreUnavailable("locked")] * 3
    assert (await queue.enqueue(job)).job_id == job.job_id
    assert (await queue.enqueue(job)).job_id == job.job_id
    flaky.failures = [JobStoreUnavailable("locked")]
    assert (await queue.get("acme", job.job_id)).job_id == job.job_id
    assert len((await queue.list_jobs("acme", JobFilters(), cursor=None, limit=9)).jobs) == 1
    assert (await queue.depth("acme")).tenant_waiting == 1
    await queue.cancel("acme", job.job_id)
    await queue.settle("acme", job.job_id)
    assert [event.type async for event in queue.events("acme", job.job_id)][-1] == "cancelled"
    await queue.erase("acme", job.job_id)
    with pytest.raises(NotFound):
        await queue.get("acme", job.job_id)


@pytest.mark.parametrize("error", [QueueFull("full", None, 3.0), NotFound("there is no such job")])
async def test_an_answer_is_not_asked_for_again(error: RayScribeError) -> None:
    flaky = Flaky(InMemoryJobQueue(None), "get")
    flaky.failures = [error, error]
    with pytest.raises(type(error)):
        await guarded(JobQueue, flaky, Guard(), TABLE[JobQueue]).get("acme", "id")
    assert flaky.calls == 1
