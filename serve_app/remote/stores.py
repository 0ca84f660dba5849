"""The artifact store and the job queue under the policy table: what fails for a moment is tried again here."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing
from typing import BinaryIO, TypeVar

from pipelines.domain.job import Job, JobEvent, JobFilters, JobPage, NewJob, QueueDepth
from pipelines.errors import ArtifactStoreUnavailable, JobStoreUnavailable
from pipelines.ports.artifacts import KeepsHouse
from pipelines.ports.jobs import JobQueue
from pipelines.stores.artifacts import FsspecArtifactStore
from serve_app.resilience import Guard
from serve_app.settings import Policy, Settings

ResultT = TypeVar("ResultT")


def open_artifacts(settings: Settings, guard: Guard) -> "GuardedArtifactStore":
    """Return the store that ``settings`` name, under their policy."""
    return GuardedArtifactStore(FsspecArtifactStore(settings.data.artifacts), guard, settings.resilience.artifacts)


class GuardedArtifactStore:
    """Implements ArtifactStore over another. Streams pass through: what was taken from one cannot be taken again."""

    def __init__(self, store: KeepsHouse, guard: Guard, policy: Policy) -> None:
        self._store = store
        self._guard = guard
        self._policy = policy

    async def write_stream(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        """Store chunks as they arrive, once."""
        return await self._store.write_stream(key, chunks)

    async def write(self, key: str, data: bytes) -> None:
        """Store ``data``."""
        await self._call(lambda: self._store.write(key, data))

    async def read(self, key: str) -> bytes:
        """Return the bytes."""
        return await self._call(lambda: self._store.read(key))

    async def read_range(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes ``start`` to ``end`` (exclusive)."""
        async with aclosing(self._store.read_range(key, start, end)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def size(self, key: str) -> int | None:
        """Return the size in bytes; None where the key does not exist."""
        return await self._call(lambda: self._store.size(key))

    async def list_keys(self, prefix: str) -> tuple[str, ...]:
        """Return all keys below ``prefix``, sorted."""
        return await self._call(lambda: self._store.list_keys(prefix))

    async def delete_tree(self, prefix: str) -> None:
        """Remove all keys below ``prefix``."""
        await self._call(lambda: self._store.delete_tree(prefix))

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open for synchronous reading."""
        return self._store.open(key)

    async def keys(self) -> tuple[str, ...]:
        """Return every key; housekeeping, which comes again in an hour."""
        return await self._store.keys()

    async def age_s(self, key: str) -> float:
        """Return the seconds since a key was written."""
        return await self._store.age_s(key)

    async def sweep(self, *, older_than_s: float = 24 * 3600.0) -> int:
        """Remove what killed processes left of unfinished writes."""
        return await self._store.sweep(older_than_s=older_than_s)

    async def _call(self, attempt: Callable[[], Awaitable[ResultT]]) -> ResultT:
        return await self._guard.call("artifact store", self._policy, attempt, unavailable=ArtifactStoreUnavailable)


class GuardedJobQueue:
    """Implements JobQueue over another. What may be repeated is: enqueuing an id twice is one job.

    The queue bounds its own waiting, so that a thread which the database holds up is not left behind by a time-out of
    ours; the policy's is for a queue that does not answer at all.
    """

    def __init__(self, queue: JobQueue, guard: Guard, policy: Policy) -> None:
        self._queue = queue
        self._guard = guard
        self._policy = policy

    async def enqueue(self, job: NewJob) -> Job:
        """Acknowledge a job."""
        return await self._call(lambda: self._queue.enqueue(job))

    async def get(self, tenant: str, job_id: str) -> Job:
        """Return where the job stands."""
        return await self._call(lambda: self._queue.get(tenant, job_id))

    async def list_jobs(self, tenant: str, filters: JobFilters, *, cursor: str | None, limit: int) -> JobPage:
        """List jobs, newest first."""
        return await self._call(lambda: self._queue.list_jobs(tenant, filters, cursor=cursor, limit=limit))

    async def cancel(self, tenant: str, job_id: str) -> Job:
        """Stop a job; not repeated, because a job that was stopped has ended."""
        return await self._queue.cancel(tenant, job_id)

    async def settle(self, tenant: str, job_id: str) -> None:
        """Wait until nothing works on a cancelled job; takes its own time."""
        await self._queue.settle(tenant, job_id)

    async def retry(self, tenant: str, job_id: str) -> Job:
        """Let a failed job go on; not repeated, because a job that goes on has not failed."""
        return await self._queue.retry(tenant, job_id)

    async def erase(self, tenant: str, job_id: str) -> None:
        """Remove the job's record; not repeated, because an erased job is not found."""
        await self._queue.erase(tenant, job_id)

    async def events(self, tenant: str, job_id: str, *, after: int = -1) -> AsyncGenerator[JobEvent, None]:
        """Yield events as they happen."""
        async with aclosing(self._queue.events(tenant, job_id, after=after)) as events:
            async for event in events:
                yield event

    async def depth(self, tenant: str) -> QueueDepth:
        """Return how many jobs wait."""
        return await self._call(lambda: self._queue.depth(tenant))

    async def _call(self, attempt: Callable[[], Awaitable[ResultT]]) -> ResultT:
        return await self._guard.call(
            "job database",
            self._policy,
            attempt,
            extra_timeout_s=2 * self._policy.timeout_s,
            unavailable=JobStoreUnavailable,
        )
