"""Collections as files: exported whole, and brought back as jobs that only have to be indexed again."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from pipelines.domain.job import JobRequest, NewJob, Upload
from pipelines.errors import InvalidRequest, NotFound, QueueFull
from pipelines.jobs.bundle import PARAM, Bundle, BundledJob, collect_jobs, open_bundle, write_bundle
from pipelines.jobs.features import offered_features
from pipelines.jobs.submit import hash_submission, new_job_id
from serve_app.api.edge.authentication import JobReader, JobWriter
from serve_app.api.edge.documentation import error_answers, form_body
from serve_app.api.edge.requests import ServicesOf, while_connected
from serve_app.api.edge.streaming import SourceResponse, started
from serve_app.api.edge.uploads import Scratch, display_name, scratch_folder, take_upload
from serve_app.api.jobs.fields import JobFields, first_problem
from serve_app.api.jobs.submission import acknowledge_made, is_there
from serve_app.api.retrieval.collections import Name, find_collection
from serve_app.services import Services, present_ports

router = APIRouter(tags=["search"])
_NOT_REPEATED = frozenset({"webhook_url"})
"""Of a request: whom to tell was for the time when it was made."""
_LONGEST_PAUSE_S = 5.0


class ImportedJob(BaseModel):
    """A recording that is being indexed again."""

    id: str
    source_id: str
    """The job that it was exported from."""


class ImportBody(BaseModel):
    """What was taken; each job can be followed like any other."""

    collection: str
    jobs: list[ImportedJob]
    skipped: int
    """Recordings that are in the collection already."""
    erased: int
    """Recordings that were erased here: no file brings them back."""


class ImportCollectionFields(BaseModel):
    """Where to."""

    collection: str | None = Field(default=None, description="Left out: the one that was exported.")


@router.get(
    "/v1/collections/{name}/export",
    summary="A collection as one file",
    response_class=Response,
    responses={
        200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}},
        **error_answers(404),
    },
)
async def export_collection(
    name: Name,
    caller: JobReader,
    services: ServicesOf,
    recordings: Annotated[bool, Query(description="False: without the sound.")] = True,
) -> Response:
    """Stream a ZIP of all recordings of a collection: what was heard, corrected and made of it, and the sound."""
    await find_collection(services, caller.tenant, name)
    jobs = await collect_jobs(services.jobs, services.artifacts, caller.tenant, name, recordings=recordings)
    content = await started(write_bundle(services.artifacts, name, jobs))
    headers = {"content-type": "application/zip", "content-disposition": f'attachment; filename="{name}.zip"'}
    return SourceResponse(content, content, headers=headers)


@router.post(
    "/v1/collections/import",
    status_code=202,
    summary="Bring a collection back",
    responses=error_answers(408, 415),
    openapi_extra={"requestBody": form_body(ImportCollectionFields, "A file that was exported.")},
)
async def import_collection(request: Request, caller: JobWriter, services: ServicesOf) -> ImportBody:
    """Acknowledge a job for each recording of the file; done again, it finds the same jobs.

    What is wrong anywhere in the file is refused before anything of it is taken. While the queue is full, it waits.
    """
    limit_bytes = services.settings.limits.import_bytes
    folder = f"{caller.tenant}/requests/{uuid.uuid4()}"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(scratch_folder(services.artifacts, folder))
        form = await take_upload(request, services, folder, _check_field, limit_bytes=limit_bytes)
        source = await asyncio.to_thread(lambda: stack.enter_context(services.artifacts.open(form.file.artifact)))
        opened = open_bundle(source, most_bytes=limit_bytes)
        bundle = await asyncio.to_thread(lambda: stack.enter_context(opened))
        name = (form.values.get("collection") or [bundle.manifest.collection])[0]
        taking = _Import(services, caller.tenant, bundle, name)
        return await while_connected(request, taking.run())


def _check_field(name: str, seen: int) -> None:
    if name != "collection":
        raise InvalidRequest("there is no such field", name)
    if seen:
        raise InvalidRequest("collection is given more than once", name)


class _Import:
    """One file on its way into a collection."""

    def __init__(self, services: Services, tenant: str, bundle: Bundle, collection: str) -> None:
        self._services = services
        self._tenant = tenant
        self._bundle = bundle
        self._collection = collection
        self._offered = offered_features(present_ports(services))

    async def run(self) -> ImportBody:
        jobs = self._bundle.manifest.jobs
        requests = [self._request(job) for job in jobs]
        for job in jobs:
            await asyncio.to_thread(self._bundle.records, job)
            if job.has_recording:
                async for _chunk in self._checked(job):
                    continue
        gone = await self._services.erasures.erased_jobs(self._tenant)
        kept = [pair for pair in zip(jobs, requests, strict=True) if not {pair[0].job_id, self._own_id(pair[0])} & gone]
        taken = [imported for job, asked in kept if (imported := await self._take(job, asked)) is not None]
        return ImportBody(
            collection=self._collection, jobs=taken, skipped=len(kept) - len(taken), erased=len(jobs) - len(kept)
        )

    def _own_id(self, job: BundledJob) -> str:
        """Return the id that a job has in this collection, however often it is brought."""
        return new_job_id(self._tenant, f"import\n{self._collection}\n{job.job_id}")

    def _request(self, job: BundledJob) -> JobRequest:
        """Return what was asked, as far as this deployment offers it: what is made already stays in any case."""
        known = {name: value for name, value in job.request.items() if name in JobFields.model_fields}
        asked: dict[str, Any] = {name: value for name, value in known.items() if value is not None}
        features = asked.get("features")
        wanted = [name for name in features if name in self._offered] if isinstance(features, list) else []
        asked["features"] = wanted
        left_out = _NOT_REPEATED | (set() if "summary" in wanted else {"template_id"})
        try:
            fields = JobFields.model_validate(
                {name: value for name, value in asked.items() if name not in left_out}
                | {"collection": self._collection}
            )
        except ValidationError as error:
            problem = first_problem(error)
            raise InvalidRequest(f"what was asked of a job is not understood: {problem.message}", PARAM) from None
        own = {name: value for name, value in fields.model_dump().items() if name in JobRequest.__dataclass_fields__}
        return JobRequest(**own | {"features": tuple(fields.features), "labels": tuple(fields.labels)})

    async def _take(self, job: BundledJob, asked: JobRequest) -> ImportedJob | None:
        """Acknowledge one job; None where its recording is in the collection already."""
        if await self._is_here(job):
            return None
        job_id = self._own_id(job)
        folder = f"{self._tenant}/{job_id}/upload-import"
        upload = Upload(
            filename=display_name(job.filename), sha256=job.sha256, bytes=job.bytes, artifact=f"{folder}/recording"
        )
        new = NewJob(
            job_id=job_id,
            tenant=self._tenant,
            request=asked,
            upload=upload,
            created_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            body_hash=hash_submission(asked, upload),
        )
        await self._acknowledge(new, job)
        return ImportedJob(id=job_id, source_id=job.job_id)

    async def _acknowledge(self, new: NewJob, job: BundledJob) -> None:
        """Enqueue a job with all that is made of it already; one that is there keeps what it has."""
        records = await asyncio.to_thread(self._bundle.records, job)
        while True:
            if job.has_recording and not await is_there(self._services, new):
                await self._services.artifacts.write_stream(new.upload.artifact, self._checked(job))
            try:
                await acknowledge_made(self._services, new, Scratch(), records)
            except QueueFull as error:
                # What was written has gone with the refusal.
                await _pause(min(error.retry_after_s or 1.0, _LONGEST_PAUSE_S))
            else:
                return

    async def _checked(self, job: BundledJob) -> AsyncGenerator[bytes, None]:
        digest, size = hashlib.sha256(), 0
        async for chunk in self._bundle.recording(job):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
        if (digest.hexdigest(), size) != (job.sha256, job.bytes):
            raise InvalidRequest("a recording is not the one that was exported", PARAM)

    async def _is_here(self, job: BundledJob) -> bool:
        try:
            own = await self._services.jobs.get(self._tenant, job.job_id)
        except NotFound:
            return False
        return own.request.collection == self._collection


async def _pause(seconds: float) -> None:
    """Wait until the queue may have room."""
    await asyncio.sleep(seconds)
