"""What was received, a recording or a request, becomes an acknowledged job, or nothing at all."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from pipelines.domain.job import Job, JobRequest, NewJob, Upload
from pipelines.errors import JobStoreUnavailable, NotAvailable, RayScribeError
from pipelines.flows.submit_job import submit_job
from pipelines.flows.understand_recording import understanding_request
from pipelines.steps.check_text_features import check_text_features
from serve_app.api.processing import available_features, processing_options
from serve_app.api.uploads import Scratch
from serve_app.services import Services

ResultT = TypeVar("ResultT")


async def acknowledge(
    services: Services, tenant: str, job_id: str, asked: JobRequest, upload: Upload, scratch: Scratch
) -> Job:
    """Check, enqueue, and keep the recording if the job is new; a repeat finds the job that is there.

    Goes on to the end although the client goes away: the database may have the job already, and a job that is in the
    database has its recording. Raises as submit_job and check_text_features do.
    """
    await _check_models(services, asked)
    enqueuing = submit_job(
        services.jobs,
        services.reader,
        tenant=tenant,
        job_id=job_id,
        request=asked,
        upload=upload,
        options=processing_options(services.settings),
        available=available_features(services),
    )
    return await _to_the_end(_enqueue(services, tenant, job_id, upload, scratch, enqueuing))


async def acknowledge_request(services: Services, job: NewJob, scratch: Scratch) -> Job:
    """Enqueue a job that is about no recording, as ``acknowledge`` does; what was asked is checked and kept already.

    Raises QueueFull, IdempotencyConflict, JobStoreUnavailable.
    """
    enqueuing = services.jobs.enqueue(job)
    return await _to_the_end(_enqueue(services, job.tenant, job.job_id, job.upload, scratch, enqueuing))


async def _enqueue(
    services: Services,
    tenant: str,
    job_id: str,
    upload: Upload,
    scratch: Scratch,
    enqueuing: Coroutine[Any, Any, Job],
) -> Job:
    try:
        job = await enqueuing
    except JobStoreUnavailable as error:
        job = await _written_all_the_same(services, tenant, job_id, upload, error)
    if job.upload.artifact == upload.artifact:
        scratch.keep()
        services.metrics.count("jobs_submitted", priority=job.request.priority)
    else:
        await _restore(services, job, upload)
    return job


async def _written_all_the_same(
    services: Services, tenant: str, job_id: str, upload: Upload, error: JobStoreUnavailable
) -> Job:
    """Return the job if the database took it before it fell silent; else raise what it said."""
    try:
        job = await services.jobs.get(tenant, job_id)
    except RayScribeError:
        raise error from None
    if job.upload.artifact != upload.artifact:
        raise error
    return job


async def _restore(services: Services, job: Job, upload: Upload) -> None:
    """Give a job what was received back, if it lost it: the repeat has brought the same bytes."""
    if await services.artifacts.size(job.upload.artifact) is None:
        async with aclosing(services.artifacts.read_range(upload.artifact, 0, upload.bytes)) as chunks:
            await services.artifacts.write_stream(job.upload.artifact, chunks)


async def _check_models(services: Services, asked: JobRequest) -> None:
    if services.language is not None:
        check_text_features(understanding_request(asked), services.language.templates)
    if asked.asr_backend is None:
        return
    loaded = await services.transcriber.info()
    if asked.asr_backend not in (loaded.backend, loaded.name):
        raise NotAvailable("this speech model is not loaded: GET /v1/models lists what is", "asr_backend")


async def _to_the_end(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Let ``work`` finish although the caller is cancelled, and raise the cancellation then."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
