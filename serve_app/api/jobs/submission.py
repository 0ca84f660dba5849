"""What was received becomes an acknowledged job, or nothing of it stays."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from fastapi import Request, Response
from pydantic import Field
from starlette.responses import JSONResponse

from pipelines.domain.job import Job, JobKind, JobRequest, NewJob, Priority, Upload
from pipelines.errors import InvalidRequest, JobStoreUnavailable, NotAvailable, NotFound, RayScribeError
from pipelines.jobs.features import check_features, offered_features
from pipelines.jobs.submit import check_request, keep_request, new_job_id, new_request_job, submit_job
from pipelines.language.understand import check_text_features, understanding_request
from pipelines.outbound.guard import check_url, file_name_of
from serve_app.api.edge.authentication import Caller, require_scope
from serve_app.api.edge.forms import ONE_FILE, FieldCheck, FormShape
from serve_app.api.edge.requests import RequestBody
from serve_app.api.edge.uploads import Scratch, display_name, scratch_folder, take_upload
from serve_app.api.jobs.shapes import JobBody, job_body
from serve_app.options import outbound_policy, processing_options
from serve_app.services import Services, present_ports

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobForm:
    """How a form is read as a recording and what is to become of it."""

    check_field: FieldCheck
    parse: Callable[[Mapping[str, Sequence[str]]], JobRequest]
    """Raises InvalidRequest, NotAvailable."""
    shape: FormShape = ONE_FILE


async def submit_upload(
    request: Request, services: Services, tenant: str, idempotency_key: str | None, form: JobForm
) -> Job:
    """Take a recording as it arrives, check it, and enqueue it; what is not acknowledged leaves nothing behind.

    Raises as take_upload, the form and acknowledge do.
    """
    job_id = new_job_id(tenant, idempotency_key)
    # A folder of its own: a repeat under the same idempotency key must not overwrite the first one's recording.
    folder = f"{tenant}/{job_id}/upload-{secrets.token_hex(8)}"
    async with scratch_folder(services.artifacts, folder) as scratch:
        taken = await take_upload(request, services, folder, form.check_field, shape=form.shape)
        asked = form.parse(taken.values)
        return await acknowledge(services, tenant, job_id, asked, taken.file, scratch)


async def submit_url(services: Services, tenant: str, idempotency_key: str | None, asked: JobRequest) -> Job:
    """Enqueue a job whose first stage fetches the recording; nothing is asked of its address here.

    Raises AddressRefused, and as check_request and acknowledge_request do.
    """
    url = check_url(asked.url or "", outbound_policy(services.settings))
    check_request(asked, offered_features(present_ports(services)))
    await _check_models(services, asked)
    job_id = new_job_id(tenant, idempotency_key)
    folder = f"{tenant}/{job_id}/upload-{secrets.token_hex(8)}"
    name = display_name(file_name_of(url))
    upload = Upload(filename=name, sha256="", bytes=0, artifact=f"{folder}/recording")
    async with scratch_folder(services.artifacts, folder) as scratch:
        new = new_request_job(tenant, job_id, JobKind.RECORDING, asked, upload)
        return await acknowledge_request(services, new, scratch)


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
        offered=offered_features(present_ports(services)),
    )
    return await _to_the_end(_enqueue(services, tenant, job_id, upload, scratch, enqueuing))


async def acknowledge_made(
    services: Services,
    job: NewJob,
    scratch: Scratch,
    records: Mapping[str, bytes],
) -> Job:
    """Enqueue a recording's job some of whose work is done: ``records`` are artifacts, by their names in its folder.

    Its stages find them, and do the rest. What is not acknowledged leaves nothing behind; a job that is there already
    keeps what it has. Raises as check_features, check_text_features and acknowledge_request do.
    """
    check_features(job.request, offered_features(present_ports(services)))
    await _check_models(services, job.request)
    folder = f"{job.tenant}/{job.job_id}"
    if await is_there(services, job):
        return await acknowledge_request(services, job, scratch)
    try:
        for name, data in records.items():
            await services.artifacts.write(f"{folder}/{name}", data)
        return await acknowledge_request(services, job, scratch)
    except BaseException:
        if not await is_there(services, job):
            await _to_the_end(services.artifacts.delete_tree(folder))
        raise


async def is_there(services: Services, job: NewJob) -> bool:
    """Say whether a job of this id has been acknowledged before."""
    try:
        await services.jobs.get(job.tenant, job.job_id)
    except NotFound:
        return False
    return True


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
    """Give a job what was received back, if it lost it: the repeat has brought the same bytes (if there are any)."""
    sizes = [await services.artifacts.size(artifact) for artifact in (job.upload.artifact, upload.artifact)]
    if sizes[0] is None and sizes[1] is not None:
        async with aclosing(services.artifacts.read_range(upload.artifact, 0, upload.bytes)) as chunks:
            await services.artifacts.write_stream(job.upload.artifact, chunks)


async def _check_models(services: Services, asked: JobRequest) -> None:
    if asked.webhook_url is not None:
        check_url(asked.webhook_url, outbound_policy(services.settings), param="webhook_url")
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


PriorityName = Literal["high", "normal", "low"]
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": JobBody,
        "description": "Acknowledged as a job: it will not be lost.",
        "headers": {"Location": {"description": "Address of the job.", "schema": {"type": "string"}}},
    }
}
"""For routes that can be asked to answer in the background."""


class BackgroundFields(RequestBody):
    """Whether to wait for the answer."""

    background: bool = Field(
        default=False, description="Answer 202 with a job at once; needs the scope `jobs:write` as well."
    )
    priority: PriorityName | None = Field(default=None, description="Of the job; only with `background`.")

    @property
    def job_priority(self) -> Priority:
        """The job's place in the queue."""
        return self.priority or "normal"

    def check_background(self) -> None:
        """Raise InvalidRequest for what only a job can have."""
        if self.priority is not None and not self.background:
            raise InvalidRequest("only a job has a priority: set background", "priority")


async def submit_request(
    services: Services,
    caller: Caller,
    idempotency_key: str | None,
    kind: JobKind,
    request: JobRequest,
    asked: object,
) -> Job:
    """Keep what was asked (a domain record, checked) and acknowledge the job that will do it.

    Raises Forbidden for a key without ``jobs:write``, ArtifactStoreUnavailable, and as ``acknowledge_request`` does.
    What is not acknowledged leaves nothing behind.
    """
    require_scope(caller, "jobs:write")
    job_id = new_job_id(caller.tenant, idempotency_key)
    # A folder of its own, as for any upload: a repeat must not overwrite what the first one asked.
    folder = f"{caller.tenant}/{job_id}/upload-{secrets.token_hex(8)}"
    async with scratch_folder(services.artifacts, folder) as scratch:
        upload = await keep_request(services.artifacts, folder, kind, asked)
        new = new_request_job(caller.tenant, job_id, kind, request, upload)
        return await acknowledge_request(services, new, scratch)


def accepted(job: Job) -> Response:
    """Answer 202 with a job that was acknowledged."""
    body = job_body(job)
    return JSONResponse(body.model_dump(mode="json"), 202, headers={"location": body.links.self})
