"""What was asked becomes an acknowledged job."""

import asyncio
import hashlib
import math
import uuid
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import uuid_utils.compat

from pipelines.audio.channels import choose_channels
from pipelines.domain.encoding import from_json, to_json
from pipelines.domain.job import Job, JobFilters, JobKind, JobRequest, JobStatus, NewJob, QueueDepth, Upload
from pipelines.domain.speakers import DiarizationOptions
from pipelines.errors import ArtifactNotFound, Conflict, InvalidRequest, QueueFull
from pipelines.jobs.features import FEATURES, check_features
from pipelines.jobs.ports import ProcessingOptions
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.audio import RecordingReader
from pipelines.ports.jobs import JobQueue
from pipelines.speakers.diarize import require_possible

_NAMESPACE = uuid.UUID("3c1d9d0e-54f5-5a0b-8b3c-6a51c5b1f0a4")


def new_job_id(tenant: str, idempotency_key: str | None = None) -> str:
    """Return a UUIDv7, or with a key the UUIDv5 of tenant and key, so that a repeat finds the same job."""
    if idempotency_key is None:
        return str(uuid_utils.compat.uuid7())
    return str(uuid.uuid5(_NAMESPACE, f"{tenant}\n{idempotency_key}"))


async def submit_job(
    queue: JobQueue,
    reader: RecordingReader,
    *,
    tenant: str,
    job_id: str,
    request: JobRequest,
    upload: Upload,
    options: ProcessingOptions | None = None,
    offered: Collection[str] = tuple(FEATURES),
) -> Job:
    """Check what was asked against what was received, and enqueue it. The upload is the caller's to remove on errors.

    Raises InvalidRequest, NotAvailable (a feature that is not in ``offered``), UnsupportedMedia, AudioDamaged,
    AudioTooShort, DiarizationTooLong, QueueFull, IdempotencyConflict, JobStoreUnavailable.
    """
    check_request(request, offered)
    recording = await reader.probe(upload)
    (options or ProcessingOptions()).check_duration(recording.exact_duration_s, request)
    choose_channels(request.channels, recording.channels, None)
    job = NewJob(
        job_id=job_id,
        tenant=tenant,
        request=request,
        upload=upload,
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        body_hash=hash_submission(request, upload),
    )
    return await queue.enqueue(job)


def check_request(request: JobRequest, offered: Collection[str]) -> None:
    """Raise InvalidRequest or NotAvailable, naming the field, for what cannot be done whatever the recording."""
    check_features(request, offered)
    bounds = ("num_speakers", "min_speakers", "max_speakers")
    require_possible(DiarizationOptions(**{name: getattr(request, name) for name in bounds}))
    if request.num_speakers and (request.min_speakers or request.max_speakers):
        raise InvalidRequest("give num_speakers, or min_speakers and max_speakers, not both", "num_speakers")


def hash_submission(request: JobRequest, upload: Upload) -> str:
    """Return what two submissions under one idempotency key must share: fields, file name and bytes."""
    features = tuple(sorted(request.features))
    same = to_json(replace(request, features=features, metadata=dict(sorted(request.metadata.items()))))
    return hashlib.sha256(same + f"\n{upload.filename}\n{upload.sha256}".encode()).hexdigest()


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


_UNKNOWN_DRAIN_S = 30.0
_LONGEST_RETRY_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How many jobs may wait (running ones do not count)."""

    per_tenant: int = 50
    total: int = 500


def is_full(depth: QueueDepth, limits: QueueLimits) -> bool:
    """Tell whether one more job would exceed a limit."""
    return _excess(depth, limits) > 0


def check_queue_room(depth: QueueDepth, limits: QueueLimits) -> None:
    """Raise QueueFull where the queue is full; its ``retry_after_s`` follows the measured drain."""
    if not is_full(depth, limits):
        return
    wait_s = _excess(depth, limits) / depth.drained_per_s if depth.drained_per_s else _UNKNOWN_DRAIN_S
    retry_after_s = float(min(max(1, math.ceil(wait_s)), _LONGEST_RETRY_S))
    raise QueueFull("too many jobs are waiting", None, retry_after_s)


def _excess(depth: QueueDepth, limits: QueueLimits) -> int:
    return max(depth.tenant_waiting - limits.per_tenant, depth.total_waiting - limits.total) + 1
