"""Jobs: submit, list, read, cancel, erase, retry."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, BeforeValidator

from pipelines.domain.job import JobFilters, JobStatus
from pipelines.errors import InvalidRequest, JobStoreUnavailable, NotAvailable
from pipelines.jobs.result import read_job
from pipelines.outbound.webhooks import EndedJob, Outbox
from serve_app.api.edge.authentication import JobReader, JobWriter
from serve_app.api.edge.documentation import error_answers, form_body
from serve_app.api.edge.requests import ServicesOf
from serve_app.api.jobs.fields import (
    NAME_PATTERN,
    NOT_BUILT_HEADERS,
    IdempotencyKey,
    JobFields,
    JobId,
    UrlJobFields,
    check_field_name,
    parse_job_fields,
    parse_url_job,
)
from serve_app.api.jobs.shapes import JobBody, JobList, JobStatusName, job_body
from serve_app.api.jobs.submission import JobForm, submit_upload, submit_url

router = APIRouter(tags=["jobs"])


def _written_as_a_date(value: Any) -> Any:
    # Pydantic takes a bare number for seconds since 1970; the document promises RFC 3339 and nothing else.
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("write a date and time with its offset, as in 2026-01-31T09:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_as_a_date)]
_LOCATION = {"Location": {"description": "Address of the job.", "schema": {"type": "string"}}}


@router.post(
    "/v1/jobs",
    status_code=202,
    summary="Submit a recording",
    responses={
        202: {"headers": _LOCATION, "description": "Acknowledged: it will not be lost."},
        **error_answers(408, 409, 415),
    },
    openapi_extra={
        "requestBody": form_body(JobFields, "The recording: any audio or video container.", as_json=UrlJobFields)
    },
)
async def submit(
    request: Request,
    response: Response,
    caller: JobWriter,
    services: ServicesOf,
    idempotency_key: IdempotencyKey,
) -> JobBody:
    """Take a recording as it arrives, check it, and enqueue it; what is not acknowledged leaves nothing behind.

    As JSON: an address, from which the job's first stage fetches it.
    """
    _refuse_unbuilt(request)
    if request.headers.get("content-type", "").lower().startswith("application/json"):
        job = await submit_url(services, caller.tenant, idempotency_key, parse_url_job(await request.body()))
        response.headers["location"] = f"/v1/jobs/{job.job_id}"
        return job_body(job)
    form = JobForm(check_field=check_field_name, parse=parse_job_fields)
    job = await submit_upload(request, services, caller.tenant, idempotency_key, form)
    response.headers["location"] = f"/v1/jobs/{job.job_id}"
    return job_body(job)


@router.get("/v1/jobs", summary="List jobs, newest first", responses=error_answers())
async def list_jobs(
    caller: JobReader,
    services: ServicesOf,
    status: JobStatusName | None = None,
    collection: Annotated[str | None, Query(pattern=NAME_PATTERN)] = None,
    created_after: Moment | None = None,
    created_before: Moment | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")] = None,
) -> JobList:
    """List jobs without their results, versions and metrics, which `GET /v1/jobs/{id}` has."""
    filters = JobFilters(
        status=JobStatus(status) if status else None,
        collection=collection,
        created_after=_utc(created_after, "created_after"),
        created_before=_utc(created_before, "created_before"),
    )
    page = await services.jobs.list_jobs(caller.tenant, filters, cursor=cursor, limit=limit)
    return JobList(
        data=[job_body(job) for job in page.jobs], has_more=page.next_cursor is not None, next_cursor=page.next_cursor
    )


@router.get("/v1/jobs/{job_id}", summary="One job", responses=error_answers(404))
async def get_job(job_id: JobId, caller: JobReader, services: ServicesOf) -> JobBody:
    """Show where a job stands, and what it has produced so far."""
    return job_body(*await read_job(services.jobs, services.artifacts, caller.tenant, job_id))


@router.delete(
    "/v1/jobs/{job_id}",
    summary="Cancel a job, or erase it",
    response_model=JobBody,
    responses={204: {"description": "Erased: recording, artifacts, passages and record."}, **error_answers(404, 409)},
)
async def delete_job(
    job_id: JobId,
    caller: JobWriter,
    services: ServicesOf,
    erase: Annotated[bool, Query(description="Remove everything there is of it.")] = False,
) -> JobBody | Response:
    """Cancel a job that has not ended; with ``erase``, remove it whatever its state."""
    if erase:
        entry = await services.eraser.erase(caller.tenant, job_id)
        return Response(status_code=204, headers={"location": f"/v1/erasures/{entry.erasure_id}"} if entry else None)
    cancelled = await services.jobs.cancel(caller.tenant, job_id)
    ended = EndedJob(tenant=caller.tenant, job_id=job_id, request=cancelled.request, status=JobStatus.CANCELLED)
    with suppress(JobStoreUnavailable):  # the job is cancelled all the same
        await Outbox(services.accounts).job_ended(ended)
    return job_body(cancelled)


@router.post(
    "/v1/jobs/{job_id}/retry", status_code=202, summary="Go on with a failed job", responses=error_answers(404, 409)
)
async def retry_job(job_id: JobId, caller: JobWriter, services: ServicesOf) -> JobBody:
    """Let a failed job go on from its last finished stage, under the same id."""
    return job_body(await services.jobs.retry(caller.tenant, job_id))


def _refuse_unbuilt(request: Request) -> None:
    for name in NOT_BUILT_HEADERS:
        if name in request.headers:
            raise NotAvailable(f"the header {name} is not available in this deployment", name)


def _utc(moment: datetime | None, param: str) -> str | None:
    try:
        return moment.astimezone(UTC).isoformat() if moment else None
    except OverflowError:
        raise InvalidRequest("this moment is before the first or after the last year", param) from None
