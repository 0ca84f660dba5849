"""What was asked without a recording becomes an acknowledged job: the request itself is what is received."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import TypeVar

from pipelines.domain.encoding import from_json, to_json
from pipelines.domain.job import Job, JobFilters, JobKind, JobRequest, JobStatus, NewJob, Upload
from pipelines.errors import ArtifactNotFound, Conflict
from pipelines.flows.submit_job import hash_submission
from pipelines.ports import ArtifactStore, JobQueue

RecordT = TypeVar("RecordT")
_PAGE = 100


async def keep_request(artifacts: ArtifactStore, folder: str, kind: JobKind, asked: object) -> Upload:
    """Write a request (a domain record) below ``folder``: what people say and ask stays out of the job database."""
    data = await asyncio.to_thread(to_json, asked)
    artifact = f"{folder}/request"
    await artifacts.write(artifact, data)
    return Upload(
        filename=f"{kind.value}.json", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), artifact=artifact
    )


async def load_request(artifacts: ArtifactStore, job: NewJob, record_type: type[RecordT]) -> RecordT:
    """Return what ``keep_request`` wrote. Raises ArtifactNotFound, ArtifactStoreUnavailable."""
    try:
        data = await artifacts.read(job.upload.artifact)
    except ArtifactNotFound:
        raise ArtifactNotFound("what was asked is gone") from None
    return await asyncio.to_thread(from_json, record_type, data)


def new_request_job(tenant: str, job_id: str, kind: JobKind, request: JobRequest, upload: Upload) -> NewJob:
    """Return the job to enqueue; two of one idempotency key are the same if kind, fields and request are."""
    return NewJob(
        job_id=job_id,
        tenant=tenant,
        kind=kind,
        request=request,
        upload=upload,
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        body_hash=hash_submission(request, upload),
    )


async def require_no_reindexing(queue: JobQueue, tenant: str, collection: str, job_id: str) -> None:
    """Raise Conflict where another job is moving this collection already: the two would only do it twice."""
    for status in (JobStatus.QUEUED, JobStatus.RUNNING):
        async for job in _reindexings(queue, tenant, collection, status):
            if job.job_id != job_id:
                raise reindexing_already(job)


async def require_first_reindexing(queue: JobQueue, tenant: str, collection: str, job_id: str) -> None:
    """Raise Conflict where a job that started before this one, which is running, is moving the collection.

    Two that were submitted or retried at the same moment may both be under way: of these exactly one goes on.
    """
    own = await queue.get(tenant, job_id)
    async for job in _reindexings(queue, tenant, collection, JobStatus.RUNNING):
        if job.job_id != job_id and _start(job) < _start(own):
            raise reindexing_already(job)


def reindexing_already(job: Job) -> Conflict:
    """Return what to raise where this job is moving the collection."""
    return Conflict(f"the job {job.job_id} is reindexing this collection", "name")


async def _reindexings(queue: JobQueue, tenant: str, collection: str, status: JobStatus) -> AsyncGenerator[Job, None]:
    filters, cursor = JobFilters(status=status, collection=collection), None
    while True:
        page = await queue.list_jobs(tenant, filters, cursor=cursor, limit=_PAGE)
        for job in page.jobs:
            if job.kind is JobKind.REINDEX:
                yield job
        if (cursor := page.next_cursor) is None:
            return


def _start(job: Job) -> tuple[str, str, str]:
    return job.started_at or job.created_at, job.created_at, job.job_id
