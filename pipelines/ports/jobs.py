"""Durable jobs: how clients see them, how flows run in them, and who watches."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from pipelines.domain.job import (
    Job,
    JobEvent,
    JobFilters,
    JobPage,
    JobResult,
    JobStatus,
    NewJob,
    QueueDepth,
)


class StepRunner(Protocol):
    """Gives a flow durability: a step whose return value was recorded is never run again for the same job."""

    async def step(self, name: str, body: Callable[[], Awaitable[Mapping[str, object]]]) -> Mapping[str, object]:
        """Run ``body`` unless a result is recorded under ``name``; record and return its (JSON-able) result.

        Steps must be started in the same order on every run. Cancelling the job cancels the body.
        """
        ...

    async def emit(self, event_type: str, data: Mapping[str, object]) -> None:
        """Append to the job's durable event stream. May repeat after a recovery."""
        ...


class JobQueue(Protocol):
    """Durable jobs, as clients see them. Needs no runner: status stays readable while none is alive.

    Raises JobStoreUnavailable throughout. Another tenant's job does not exist (NotFound).
    """

    async def enqueue(self, job: NewJob) -> Job:
        """Acknowledge a job: once this returns, the job survives the death of every process.

        The same job id with the same body hash returns the job as it is; with another, raises IdempotencyConflict.
        """
        ...

    async def get(self, tenant: str, job_id: str) -> Job:
        """Return where the job stands. Raises NotFound."""
        ...

    async def list_jobs(self, tenant: str, filters: JobFilters, *, cursor: str | None, limit: int) -> JobPage:
        """List jobs, newest first. Raises InvalidRequest for a cursor that this method did not make."""
        ...

    async def cancel(self, tenant: str, job_id: str) -> Job:
        """Stop a job. Raises NotFound, JobEnded."""
        ...

    async def settle(self, tenant: str, job_id: str) -> None:
        """Return once nothing works on a cancelled job any more, or its runner has had 10 s. Raises NotFound."""
        ...

    async def retry(self, tenant: str, job_id: str) -> Job:
        """Let a failed job go on from its last finished stage, under the same id.

        Raises NotFound, JobNotFailed, and Conflict for a reindexing while another job is moving the same collection.
        """
        ...

    async def erase(self, tenant: str, job_id: str) -> None:
        """Remove the job's record and events (its artifacts and passages are the caller's). Raises NotFound."""
        ...

    def events(self, tenant: str, job_id: str, *, after: int = -1) -> AsyncGenerator[JobEvent, None]:
        """Yield all events with an id above ``after``, then new ones as they happen; end after a terminal one.

        Raises NotFound before the first event.
        """
        ...

    async def depth(self, tenant: str) -> QueueDepth:
        """Return how many jobs wait."""
        ...


class JobObserver(Protocol):
    """Hears of jobs in the process that runs them. Quick, and never raises."""

    def running(self, job: NewJob) -> AbstractContextManager[None]:
        """Return a context in which the job runs: for what is bound to its log lines."""
        ...

    def ended(self, status: JobStatus, result: JobResult | None) -> None:
        """Hear that a job ended; ``result`` where it succeeded. A job whose end a crash hid is heard of twice."""
        ...

    def erasure_failed(self, error: Exception) -> None:
        """Hear that a job which is due to be erased is still there."""
        ...


class NoObserver:
    """Hears nothing."""

    def running(self, job: NewJob) -> AbstractContextManager[None]:
        """Change nothing."""
        return nullcontext()

    def ended(self, status: JobStatus, result: JobResult | None) -> None:
        """Forget it."""

    def erasure_failed(self, error: Exception) -> None:
        """Forget it."""
