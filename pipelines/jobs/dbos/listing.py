"""Many jobs at once: pages, positions in the queue, depth. Blocking calls."""

import base64
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import sqlalchemy
from dbos import DBOSClient, WorkflowStatus

from pipelines.domain.job import JobFilters, JobPage, JobStatus, QueueDepth
from pipelines.errors import InvalidRequest
from pipelines.jobs.dbos.database import JobDatabase
from pipelines.jobs.dbos.records import ENDED, FAILED, WAITING, WORKFLOW, job_of, job_status_of, new_job_of

_BATCH = 100
_COLUMNS = ("workflow_uuid", "name", "authenticated_user", "attributes", "status", "created_at")
_DRAIN_WINDOW_S = 600.0
_DRAIN_SAMPLE = 50
_LATEST_MS = 253_402_300_799_000
"""The last second that a date can have. Jobs are made between it and 1970: a filter beyond them asks for no others."""
_STATUS_WORDS = {
    JobStatus.QUEUED: [*WAITING, "CANCELLED"],
    JobStatus.RUNNING: ["PENDING", *WAITING, "CANCELLED"],
    JobStatus.SUCCEEDED: ["SUCCESS"],
    JobStatus.FAILED: list(FAILED),
    JobStatus.CANCELLED: ["CANCELLED"],
}
"""Where to look for each state. CANCELLED may be a job on its way to a newer workflow version."""


def list_page(database: JobDatabase, tenant: str, filters: JobFilters, cursor: str | None, limit: int) -> JobPage:
    """Return one page, newest first. Raises InvalidRequest for a cursor or a time that cannot be read."""
    before = _read_cursor(cursor) if cursor else None
    found: list[WorkflowStatus] = []
    for status in _newest_first(database, tenant, filters, before):
        if before and _order(status) >= before:
            continue
        # One more than asked for, and then all of the same instant: their order is not the database's.
        if len(found) > limit and status.created_at != found[-1].created_at:
            break
        found.append(status)
    found.sort(key=_order, reverse=True)
    page = found[:limit]
    waiting = any(job_status_of(status) is JobStatus.QUEUED for status in page)
    positions = queue_positions(database.client, tenant) if waiting else {}
    return JobPage(
        jobs=tuple(job_of(status, positions.get(status.workflow_id)) for status in page),
        next_cursor=_write_cursor(page[-1]) if page and len(found) > limit else None,
    )


def waiting_jobs(client: DBOSClient, tenant: str | None = None) -> list[WorkflowStatus]:
    """Return waiting jobs, without input and output, in the order in which a tenant's are taken: priority, then age."""
    found = client.list_workflows(name=WORKFLOW, status=WAITING, user=tenant, load_input=False, load_output=False)
    waiting = [status for status in found if job_status_of(status) is JobStatus.QUEUED]
    return sorted(waiting, key=lambda status: (status.priority or 0, status.created_at or 0))


def queue_positions(client: DBOSClient, tenant: str) -> dict[str, int]:
    """Return the 1-based place of each of the tenant's waiting jobs."""
    return {status.workflow_id: place for place, status in enumerate(waiting_jobs(client, tenant), start=1)}


def count_waiting(waiting: Sequence[WorkflowStatus], tenant: str) -> QueueDepth:
    """Count waiting jobs, the tenant's and all, without measuring how fast they leave."""
    return QueueDepth(
        tenant_waiting=sum(status.authenticated_user == tenant for status in waiting),
        total_waiting=len(waiting),
        drained_per_s=None,
    )


def measure_depth(client: DBOSClient, tenant: str) -> QueueDepth:
    """Count waiting jobs, and measure how fast jobs have ended in the last ten minutes."""
    return replace(count_waiting(waiting_jobs(client), tenant), drained_per_s=_drain_rate(client))


def _drain_rate(client: DBOSClient) -> float | None:
    since = time.time() - _DRAIN_WINDOW_S
    ended = client.list_workflows(
        name=WORKFLOW,
        status=ENDED,
        completed_after=datetime.fromtimestamp(since, UTC).isoformat(),
        sort_desc=True,
        limit=_DRAIN_SAMPLE,
        load_input=False,
        load_output=False,
    )
    if not ended:
        return None
    oldest = min(status.completed_at or 0 for status in ended) / 1000
    return len(ended) / max(time.time() - oldest, 1.0)


def _newest_first(
    database: JobDatabase, tenant: str, filters: JobFilters, before: tuple[int, str, str] | None
) -> Iterator[WorkflowStatus]:
    end = _bound(filters.created_before, "created_before")
    if before:
        end = min(end, before[0]) if end is not None else before[0]
    start = _bound(filters.created_after, "created_after")
    words = _STATUS_WORDS[filters.status] if filters.status else None
    for offset in itertools.count(0, _BATCH):
        if database.embedded and filters.collection is not None:
            found = _in_collection(database, tenant, filters.collection, words, (start, end), offset)
            batch = database.client.list_workflows(workflow_ids=found, sort_desc=True) if found else []
        else:
            batch = database.client.list_workflows(
                name=WORKFLOW,
                user=tenant,
                status=words,
                start_time=_iso(start) if start is not None else None,
                end_time=_iso(end) if end is not None else None,
                attributes={"collection": filters.collection} if filters.collection is not None else None,
                sort_desc=True,
                limit=_BATCH,
                offset=offset,
            )
        yield from (status for status in batch if filters.status in (None, job_status_of(status)))
        if len(batch) < _BATCH:
            return


def _in_collection(
    database: JobDatabase,
    tenant: str,
    collection: str,
    words: Sequence[str] | None,
    created: tuple[int | None, int | None],
    offset: int,
) -> list[str]:
    """Return the ids of a batch, newest first. DBOS cannot look into attributes on SQLite, and SQLite can."""
    jobs = sqlalchemy.table("workflow_status", *map(sqlalchemy.column, _COLUMNS))
    wanted = [
        jobs.c.name == WORKFLOW,
        jobs.c.authenticated_user == tenant,
        sqlalchemy.func.json_extract(jobs.c.attributes, "$.collection") == collection,
    ]
    if words is not None:
        wanted.append(jobs.c.status.in_(words))
    start, end = created
    if start is not None:
        wanted.append(jobs.c.created_at >= start)
    if end is not None:
        wanted.append(jobs.c.created_at <= end)
    query = (
        sqlalchemy.select(jobs.c.workflow_uuid).where(*wanted).order_by(jobs.c.created_at.desc(), jobs.c.workflow_uuid)
    )
    with database.engine.connect() as connection:
        return list(connection.execute(query.limit(_BATCH).offset(offset)).scalars())


def _order(status: WorkflowStatus) -> tuple[int, str, str]:
    # DBOS's own time has whole seconds on SQLite; within one, the job's own decides, and then its id.
    return status.created_at or 0, new_job_of(status).created_at, status.workflow_id


def _write_cursor(status: WorkflowStatus) -> str:
    return base64.urlsafe_b64encode(json.dumps(_order(status)).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, str, str]:
    try:
        given = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        given = None
    match given:
        case [int(epoch_ms), str(created_at), str(job_id)] if 0 <= epoch_ms <= _LATEST_MS:
            return epoch_ms, created_at, job_id
    raise InvalidRequest("this cursor is not one of ours", "cursor")


def _bound(timestamp: str | None, field: str) -> int | None:
    if timestamp is None:
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError as error:
        raise InvalidRequest(f"{field} is not an RFC 3339 time", field) from error
    epoch_ms = round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    return min(max(epoch_ms, 0), _LATEST_MS)


def _iso(epoch_ms: int) -> str:
    # Half a millisecond more, because DBOS truncates after a multiplication of floats.
    return datetime.fromtimestamp((epoch_ms + 0.5) / 1000, UTC).isoformat()
