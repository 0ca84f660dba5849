"""Jobs as clients see them: a JobQueue over DBOS that needs the database and no runner."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import closing
from typing import Any

from dbos import EnqueueOptions, WorkflowStatus, error

from pipelines.domain.encoding import to_plain
from pipelines.domain.job import Job, JobEvent, JobFilters, JobKind, JobPage, JobStatus, NewJob, QueueDepth
from pipelines.errors import IdempotencyConflict, JobEnded, JobNotFailed, JobStoreUnavailable, NotFound
from pipelines.jobs.dbos.changes import JobChanges
from pipelines.jobs.dbos.database import DatabaseThreads, JobDatabase
from pipelines.jobs.dbos.listing import count_waiting, list_page, measure_depth, queue_positions, waiting_jobs
from pipelines.jobs.dbos.records import (
    EVENTS,
    FAILED,
    PRIORITIES,
    QUEUE,
    WORKFLOW,
    attributes_of,
    job_of,
    job_status_of,
    new_job_of,
)
from pipelines.jobs.stages import WORKFLOW_VERSION
from pipelines.jobs.submit import QueueLimits, check_queue_room, is_full, reindexing_already

_TIMEOUT_S = 5.0
_CONNECT_TIMEOUT_S = 30.0
_RUNNER_LETS_GO_S = 10.0
_WATCH_INTERVAL_S = 0.1
_PAGE = 100


class DbosJobQueue:
    """Implements JobQueue. ``connect`` makes one; ``close`` releases its connections."""

    def __init__(self, database: JobDatabase, limits: QueueLimits, threads: DatabaseThreads | None = None) -> None:
        self.database = database
        """For what works on many jobs at once, such as retention."""
        self._client = database.client
        self._limits = limits
        self._threads = threads or DatabaseThreads()
        self._changes = JobChanges(database)

    @classmethod
    async def connect(cls, database_url: str, limits: QueueLimits | None = None) -> "DbosJobQueue":
        """Connect to ``sqlite:///…`` or ``postgresql://…``, creating or migrating the database where needed."""
        threads = DatabaseThreads()
        database = await threads.call(_CONNECT_TIMEOUT_S, JobDatabase.open, database_url, _TIMEOUT_S)
        return cls(database, limits or QueueLimits(), threads)

    async def close(self) -> None:
        """Release all connections."""
        await self._changes.close()
        self._threads.close()
        await asyncio.to_thread(self.database.close)

    async def enqueue(self, job: NewJob) -> Job:
        """Acknowledge a job: it is committed when this returns."""
        return await self._threads.call(2 * _TIMEOUT_S, self._enqueue, job)

    async def get(self, tenant: str, job_id: str) -> Job:
        """Return where the job stands."""
        return await self._threads.call(_TIMEOUT_S, self._get, tenant, job_id)

    async def list_jobs(self, tenant: str, filters: JobFilters, *, cursor: str | None, limit: int) -> JobPage:
        """List jobs, newest first."""
        return await self._threads.call(_TIMEOUT_S, list_page, self.database, tenant, filters, cursor, limit)

    async def cancel(self, tenant: str, job_id: str) -> Job:
        """Stop a job. A running one stops within seconds: its step notices, and it can write nothing from now on."""
        return await self._threads.call(_TIMEOUT_S, self._cancel, tenant, job_id)

    async def retry(self, tenant: str, job_id: str) -> Job:
        """Put a failed job back into the queue; it goes on from the first step that has no result.

        Raises Conflict for a reindexing while another job is moving the same collection.
        """
        return await self._threads.call(_TIMEOUT_S, self._retry, tenant, job_id)

    async def settle(self, tenant: str, job_id: str) -> None:
        """Wait until the runner has let go of a cancelled job; a runner that died gets 10 s."""
        for _ in range(round(_RUNNER_LETS_GO_S / _WATCH_INTERVAL_S)):
            status = await self._threads.call(_TIMEOUT_S, self._owned, tenant, job_id)
            if not (status.attributes or {}).get("runner"):
                return
            await asyncio.sleep(_WATCH_INTERVAL_S)

    async def erase(self, tenant: str, job_id: str) -> None:
        """Remove record and events."""
        await self._threads.call(_TIMEOUT_S, self._erase, tenant, job_id)

    async def events(self, tenant: str, job_id: str, *, after: int = -1) -> AsyncGenerator[JobEvent, None]:
        """Yield events. ``queued`` is 0, the stream's offset n is n + 1, and the terminal one follows from the record.

        A terminal event is never written, so there is exactly one however often a runner dies: the record's last state.
        """
        await self.get(tenant, job_id)
        if after < 0:
            yield JobEvent(id=0, type="queued")
        position = max(after, 0)
        known = after < 1 or bool(await self._threads.call(_TIMEOUT_S, self._read_events, job_id, after - 1, 1))
        async with self._changes.reader(job_id) as wait:
            while True:
                ended, entries = await self._threads.call(_TIMEOUT_S, self._look, tenant, job_id, position)
                for entry in entries:
                    position += 1
                    yield JobEvent(id=position, type=entry["type"], data=entry["data"])
                if not entries and ended:
                    break
                if not entries:
                    await wait()
        if known or position > after:
            yield terminal_event(position + 1, await self.get(tenant, job_id))

    async def depth(self, tenant: str) -> QueueDepth:
        """Return how many jobs wait, and how fast they have left lately."""
        return await self._threads.call(_TIMEOUT_S, measure_depth, self._client, tenant)

    def _find(self, job_id: str) -> WorkflowStatus | None:
        found = self._client.list_workflows(workflow_ids=[job_id], name=WORKFLOW)
        return found[0] if found else None

    def _owned(self, tenant: str, job_id: str) -> WorkflowStatus:
        status = self._find(job_id)
        if status is None or status.authenticated_user != tenant:
            raise NotFound("there is no such job")
        return status

    def _get(self, tenant: str, job_id: str) -> Job:
        status = self._owned(tenant, job_id)
        if job_status_of(status) is not JobStatus.QUEUED:
            return job_of(status, None)
        return job_of(status, queue_positions(self._client, tenant).get(job_id))

    def _enqueue(self, job: NewJob) -> Job:
        found = self._find(job.job_id)
        if found is not None:
            return self._repeated(found, job)
        waiting = waiting_jobs(self._client)
        if is_full(count_waiting(waiting, job.tenant), self._limits):
            check_queue_room(measure_depth(self._client, job.tenant), self._limits)
        # In a transaction of ours: DBOS's own would wait without end for a locked database.
        with self.database.engine.begin() as connection:
            self._client.enqueue_in_transaction(connection, _options(job), to_plain(job))
        status = self._find(job.job_id)
        if status is None:
            raise JobStoreUnavailable("the job database lost a job that was just written")
        if job_status_of(status) is not JobStatus.QUEUED or new_job_of(status) != job:
            return self._repeated(status, job)
        priority = PRIORITIES[job.request.priority]
        own = (other for other in waiting if other.authenticated_user == job.tenant)
        return job_of(status, 1 + sum((other.priority or 0) <= priority for other in own))

    def _repeated(self, status: WorkflowStatus, job: NewJob) -> Job:
        known = new_job_of(status)
        if (known.tenant, known.body_hash) != (job.tenant, job.body_hash):
            raise IdempotencyConflict("this idempotency key was used with another request")
        return self._get(job.tenant, job.job_id)

    def _cancel(self, tenant: str, job_id: str) -> Job:
        if job_status_of(self._owned(tenant, job_id)).ended:
            raise JobEnded("the job has ended")
        self._client.cancel_workflow(job_id)
        job = self._get(tenant, job_id)
        if job.status is not JobStatus.CANCELLED:
            raise JobEnded("the job has ended")
        return job

    def _retry(self, tenant: str, job_id: str) -> Job:
        status = self._owned(tenant, job_id)
        if status.status not in FAILED:
            raise JobNotFailed("only a failed job can be retried")
        self._require_no_reindexing(new_job_of(status))
        attempts = int((status.attributes or {}).get("earlier_attempts") or 0) + int(status.recovery_attempts or 0)
        same_steps = status.app_version == WORKFLOW_VERSION
        try:
            self._client.rewind_workflow(
                job_id,
                start_step=self._first_unfinished_step(job_id) if same_steps else 1,
                application_version=WORKFLOW_VERSION,
                queue_name=QUEUE,
                queue_partition_key=tenant,
            )
        except error.DBOSException as refused:  # somebody else was quicker
            raise JobNotFailed("only a failed job can be retried") from refused
        self._client.update_workflow_attributes(job_id, {"earlier_attempts": attempts}, merge=True)
        return self._get(tenant, job_id)

    def _require_no_reindexing(self, job: NewJob) -> None:
        """Raise Conflict where ``job`` is a reindexing and another job is moving its collection."""
        if job.kind is not JobKind.REINDEX:
            return
        for status in (JobStatus.QUEUED, JobStatus.RUNNING):
            cursor: str | None = None
            filters = JobFilters(status=status, collection=job.request.collection)
            while True:
                page = list_page(self.database, job.tenant, filters, cursor, _PAGE)
                for other in page.jobs:
                    if other.kind is JobKind.REINDEX and other.job_id != job.job_id:
                        raise reindexing_already(other)
                if (cursor := page.next_cursor) is None:
                    break

    def _first_unfinished_step(self, job_id: str) -> int:
        done = {step["function_id"] for step in self._client.list_workflow_steps(job_id) if step["error"] is None}
        return next(number for number in range(1, len(done) + 2) if number not in done)

    def _look(self, tenant: str, job_id: str, position: int) -> tuple[bool, list[dict[str, Any]]]:
        """Say whether the job has ended, and what is written from a position on."""
        found = self._client.list_workflows(workflow_ids=[job_id], name=WORKFLOW, load_input=False, load_output=False)
        if not found or found[0].authenticated_user != tenant:
            raise NotFound("there is no such job")
        # Asked first: a job that is cancelled may write on for a moment, and what it wrote is to be read.
        return job_status_of(found[0]).ended, self._read_events(job_id, position, _PAGE)

    def _read_events(self, job_id: str, offset: int, limit: int) -> list[dict[str, Any]]:
        """Return what is written from an offset on, without waiting for more."""
        entries: list[dict[str, Any]] = []
        with closing(self._client.read_stream(job_id, EVENTS, offset=offset, timeout_seconds=0)) as stream:
            try:  # what comes before the time-out stays
                entries.extend(itertools.islice(stream, limit))
            except error.DBOSStreamTimeoutError:
                pass
            except error.DBOSNonExistentWorkflowError as gone:
                raise NotFound("there is no such job") from gone
        return entries

    def _erase(self, tenant: str, job_id: str) -> None:
        self._owned(tenant, job_id)
        self.database.delete(job_id)


def terminal_event(event_id: int, job: Job) -> JobEvent:
    """Return the event that says how ``job`` ended."""
    data = {"error": to_plain(job.error)} if job.error else {}
    return JobEvent(id=event_id, type=job.status.value, data=data)  # type: ignore[arg-type]  # ended: the same words


def _options(job: NewJob) -> EnqueueOptions:
    return EnqueueOptions(
        workflow_name=WORKFLOW,
        queue_name=QUEUE,
        workflow_id=job.job_id,
        priority=PRIORITIES[job.request.priority],
        queue_partition_key=job.tenant,
        authenticated_user=job.tenant,
        attributes=attributes_of(job),
    )
