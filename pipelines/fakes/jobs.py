"""A job queue that behaves, in memory; given ports, it runs the jobs in tasks of the same event loop."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pipelines.domain.encoding import to_plain
from pipelines.domain.job import (
    EventType,
    Job,
    JobEvent,
    JobFilters,
    JobKind,
    JobPage,
    JobStatus,
    NewJob,
    Priority,
    QueueDepth,
)
from pipelines.errors import IdempotencyConflict, InvalidRequest, JobEnded, JobNotFailed, NotFound
from pipelines.fakes.steps import InMemoryStepRunner
from pipelines.jobs.failure import JobFailed, failure_of
from pipelines.jobs.submit import QueueLimits, check_queue_room, reindexing_already

RunJob = Callable[[NewJob, InMemoryStepRunner], Awaitable[object]]
_URGENCY: Mapping[Priority, int] = {"high": 1, "normal": 2, "low": 3}


@dataclass(slots=True)
class _Record:
    number: int
    new: NewJob
    job: Job
    events: list[JobEvent]
    steps: InMemoryStepRunner
    ended_at: float | None = None
    task: asyncio.Task[None] | None = field(default=None)


class InMemoryJobQueue:
    """Implements JobQueue. ``run`` processes a job (``process_recording`` with its ports); None: jobs wait forever."""

    def __init__(self, run: RunJob | None = None, *, limits: QueueLimits | None = None, concurrency: int = 1) -> None:
        self._run = run
        self._limits = limits or QueueLimits()
        self._concurrency = concurrency
        self._records: dict[str, _Record] = {}
        self._changed = asyncio.Condition()
        self._counter = 0

    async def start(self, run: RunJob) -> None:
        """Begin to run jobs, waiting ones first."""
        self._run = run
        await self._start_jobs()

    async def close(self) -> None:
        """Stop all running jobs."""
        tasks = [record.task for record in self._records.values() if record.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def enqueue(self, job: NewJob) -> Job:
        """Acknowledge a job."""
        record = self._records.get(job.job_id)
        if record is None:
            check_queue_room(await self.depth(job.tenant), self._limits)
            record = self._add(job)
            await self._start_jobs()
        if record.new.tenant != job.tenant or record.new.body_hash != job.body_hash:
            raise IdempotencyConflict("this idempotency key was used with another request")
        return self._seen(record)

    async def get(self, tenant: str, job_id: str) -> Job:
        """Return where the job stands."""
        return self._seen(self._owned(tenant, job_id))

    async def list_jobs(self, tenant: str, filters: JobFilters, *, cursor: str | None, limit: int) -> JobPage:
        """List jobs, newest first."""
        before = self._read_cursor(cursor)
        after_s, before_s = _seconds(filters.created_after), _seconds(filters.created_before)
        found = [
            record
            for record in sorted(self._records.values(), key=lambda record: record.number, reverse=True)
            if record.new.tenant == tenant
            and record.number < before
            and filters.status in (None, record.job.status)
            and filters.collection in (None, record.new.request.collection)
            and (after_s or 0.0) <= (_seconds(record.new.created_at) or 0.0) <= (before_s or float("inf"))
        ]
        more = len(found) > limit
        return JobPage(
            jobs=tuple(self._seen(record) for record in found[:limit]),
            next_cursor=f"n{found[limit - 1].number}" if more else None,
        )

    async def cancel(self, tenant: str, job_id: str) -> Job:
        """Stop a job."""
        record = self._owned(tenant, job_id)
        if record.job.status.ended:
            raise JobEnded("the job has ended")
        await self._end(record, JobStatus.CANCELLED)
        if record.task:
            record.task.cancel()
        await self._start_jobs()
        return self._seen(record)

    async def retry(self, tenant: str, job_id: str) -> Job:
        """Put a failed job back into the queue."""
        record = self._owned(tenant, job_id)
        if record.job.status is not JobStatus.FAILED:
            raise JobNotFailed("only a failed job can be retried")
        self._require_no_reindexing(record.new)
        record.events.pop()
        record.steps = record.steps.resumed()
        record.job = replace(record.job, status=JobStatus.QUEUED, stage=None, finished_at=None, error=None)
        await self._start_jobs()
        return self._seen(record)

    async def settle(self, tenant: str, job_id: str) -> None:
        """Wait until nothing works on a cancelled job any more."""
        task = self._owned(tenant, job_id).task
        if task:
            await asyncio.gather(task, return_exceptions=True)

    async def erase(self, tenant: str, job_id: str) -> None:
        """Remove a job's record and events."""
        task = self._owned(tenant, job_id).task
        if task:
            task.cancel()
        del self._records[job_id]
        async with self._changed:
            self._changed.notify_all()

    async def events(self, tenant: str, job_id: str, *, after: int = -1) -> AsyncGenerator[JobEvent, None]:
        """Yield events until a terminal one."""
        record = self._owned(tenant, job_id)
        while True:
            for event in record.events[after + 1 :]:
                after = event.id
                yield event
            async with self._changed:
                self._owned(tenant, job_id)
                if after + 1 >= len(record.events):
                    if record.job.status.ended:
                        return
                    await self._changed.wait()

    async def depth(self, tenant: str) -> QueueDepth:
        """Count waiting jobs."""
        waiting = self._waiting()
        ended = [record.ended_at for record in self._records.values() if record.ended_at is not None]
        return QueueDepth(
            tenant_waiting=sum(record.new.tenant == tenant for record in waiting),
            total_waiting=len(waiting),
            drained_per_s=len(ended) / max(time.monotonic() - min(ended), 1.0) if ended else None,
        )

    def _add(self, new: NewJob) -> _Record:
        self._counter += 1
        job = Job(
            job_id=new.job_id,
            tenant=new.tenant,
            request=new.request,
            upload=new.upload,
            status=JobStatus.QUEUED,
            stage=None,
            progress=0.0,
            queue_position=None,
            created_at=new.created_at,
            kind=new.kind,
        )
        queued = JobEvent(id=0, type="queued")
        record = _Record(number=self._counter, new=new, job=job, events=[queued], steps=InMemoryStepRunner())
        self._records[new.job_id] = record
        return record

    def _owned(self, tenant: str, job_id: str) -> _Record:
        record = self._records.get(job_id)
        if record is None or record.new.tenant != tenant:
            raise NotFound("there is no such job")
        return record

    def _require_no_reindexing(self, job: NewJob) -> None:
        if job.kind is JobKind.REINDEX:
            for other in (record.job for record in self._records.values() if not record.job.status.ended):
                moves = (other.kind, other.tenant, other.request.collection)
                if moves == (job.kind, job.tenant, job.request.collection):
                    raise reindexing_already(other)

    def _waiting(self) -> list[_Record]:
        waiting = [record for record in self._records.values() if record.job.status is JobStatus.QUEUED]
        return sorted(waiting, key=lambda record: (_URGENCY[record.new.request.priority], record.number))

    def _seen(self, record: _Record) -> Job:
        position = None
        if record.job.status is JobStatus.QUEUED:
            own = [waiting for waiting in self._waiting() if waiting.new.tenant == record.new.tenant]
            position = own.index(record) + 1
        return replace(record.job, queue_position=position)

    def _read_cursor(self, cursor: str | None) -> float:
        if cursor is None:
            return float("inf")
        if not (cursor.startswith("n") and cursor[1:].isdecimal()):
            raise InvalidRequest("this cursor is not one of ours", "cursor")
        return int(cursor[1:])

    async def _start_jobs(self) -> None:
        running = sum(record.job.status is JobStatus.RUNNING for record in self._records.values())
        for record in self._waiting()[: max(0, self._concurrency - running)]:
            if self._run is not None:
                record.job = replace(
                    record.job,
                    status=JobStatus.RUNNING,
                    attempts=record.job.attempts + 1,
                    started_at=record.job.started_at or _now(),
                )
                record.task = asyncio.create_task(self._work(record, self._run))

    async def _work(self, record: _Record, run: RunJob) -> None:
        record.steps = _Reporting(record.steps, lambda kind, data: self._report(record, kind, data))
        try:
            await run(record.new, record.steps)
        except Exception as error:
            failure = error.failure if isinstance(error, JobFailed) else failure_of(error, None)
            record.job = replace(record.job, error=failure)
            await self._end(record, JobStatus.FAILED)
        else:
            record.job = replace(record.job, progress=1.0, stage=None)
            await self._end(record, JobStatus.SUCCEEDED)
        await self._start_jobs()

    async def _report(self, record: _Record, kind: str, data: Mapping[str, object]) -> None:
        if record.job.status.ended:
            return
        if "progress" in data:
            stage = str(data["stage"]) if data["stage"] else None
            record.job = replace(record.job, stage=stage, progress=float(str(data["progress"])))
        await self._append(record, kind, data)  # type: ignore[arg-type]  # the flow emits only known events

    async def _end(self, record: _Record, status: JobStatus) -> None:
        record.job = replace(record.job, status=status, finished_at=_now())
        record.ended_at = time.monotonic()
        data = {"error": to_plain(record.job.error)} if record.job.error else {}
        await self._append(record, status.value, data)  # type: ignore[arg-type]  # ended: the same words

    async def _append(self, record: _Record, kind: EventType, data: Mapping[str, object]) -> None:
        async with self._changed:
            record.events.append(JobEvent(id=len(record.events), type=kind, data=data))
            self._changed.notify_all()


class _Reporting(InMemoryStepRunner):
    """A step runner whose events go to the queue."""

    def __init__(
        self, recorded: InMemoryStepRunner, report: Callable[[str, Mapping[str, object]], Awaitable[None]]
    ) -> None:
        super().__init__()
        self.results = recorded.results
        self._report = report

    async def emit(self, event_type: str, data: Mapping[str, object]) -> None:
        """Append to the job's events."""
        await self._report(event_type, data)


def _seconds(timestamp: str | None) -> float | None:
    if timestamp is None:
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError as error:
        raise InvalidRequest("this is not an RFC 3339 time", "created_after") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
