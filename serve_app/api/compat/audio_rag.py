"""Audio RAG's routes: recordings into a course's collection, and questions to it."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from pipelines import __version__
from pipelines.domain.job import Job, JobRequest, JobStatus
from pipelines.domain.passage import Hit
from pipelines.jobs.result import read_job
from serve_app.api.compat.edge import FormValues, detail_answers, job_form
from serve_app.api.edge.authentication import AnyCaller, JobReader, JobWriter, Searcher
from serve_app.api.edge.documentation import form_body
from serve_app.api.edge.requests import RequestBody, ServicesOf
from serve_app.api.jobs.fields import NAME_PATTERN, IdempotencyKey, JobId, parse_job_fields
from serve_app.api.jobs.submission import PriorityName, submit_upload
from serve_app.api.retrieval.search import SearchFields, audio_address, measured_search, to_request
from serve_app.services import Services, present_ports

router = APIRouter(tags=["Audio RAG"])
Word = Literal["PENDING", "RUNNING", "COMPLETED", "FAILED"]
_WORDS: dict[JobStatus, Word] = {
    JobStatus.QUEUED: "PENDING",
    JobStatus.RUNNING: "RUNNING",
    JobStatus.SUCCEEDED: "COMPLETED",
    JobStatus.FAILED: "FAILED",
    JobStatus.CANCELLED: "FAILED",
}


class IngestFields(BaseModel):
    """Where a recording is to be found."""

    collection: str | None = Field(default=None, description="The course; left out: the setting `compat.collection`.")
    priority: str = Field(default="normal", description="`high`, `normal` or `low`.")
    language: str | None = Field(default=None, description="ISO 639 code of what is spoken; left out: detected.")


class IngestJob(BaseModel):
    """One recording on its way into a collection."""

    job_id: str
    status: Word
    collection: str | None
    priority: PriorityName
    filename: str
    stage: str | None
    progress: float
    created_at: str
    started_at: str | None
    completed_at: str | None
    attempts: int
    error: str | None
    result: dict[str, Any] | None
    """`transcript`, `language`, `speakers`, once there is a transcript."""


class QueryFields(RequestBody):
    """A question to a collection."""

    query: str = Field(min_length=1)
    collection: str | None = Field(default=None, pattern=NAME_PATTERN)
    top_k: int = Field(default=5, ge=1)


class QueryHit(BaseModel):
    """A stretch of a recording."""

    text: str
    score: float
    job_id: str
    filename: str
    start: float
    end: float
    speaker: str | None
    audio: str


class QueryBody(BaseModel):
    """What was found, best first."""

    query: str
    collection: str
    results: list[QueryHit]


class Welcome(BaseModel):
    """Which service this is."""

    service: Literal["RayScribe"] = "RayScribe"
    version: str
    status: Literal["ok"] = "ok"


@router.get("/api/v1/", summary="Which service this is (Audio RAG)", responses=detail_answers())
async def welcome(_caller: AnyCaller) -> Welcome:
    """Say so."""
    return Welcome(version=__version__)


@router.post(
    "/api/v1/ingest",
    status_code=202,
    summary="Take a recording into a collection (Audio RAG)",
    responses=detail_answers(408, 409, 415),
    openapi_extra={"requestBody": form_body(IngestFields, "The recording: any audio or video container.")},
)
async def ingest(
    request: Request, caller: JobWriter, services: ServicesOf, idempotency_key: IdempotencyKey
) -> IngestJob:
    """Take a recording as `POST /v1/jobs` does: transcribed, speakers told apart, indexed."""

    def parse(values: FormValues) -> JobRequest:
        features = ["raw_transcript", "index", *(["diarization"] if "diarizer" in present_ports(services) else [])]
        given = {name: texts for name, texts in values.items() if any(texts)}
        return parse_job_fields({"collection": [services.settings.compat.collection], **given, "features": features})

    form = job_form(IngestFields, parse)
    return _body(await submit_upload(request, services, caller.tenant, idempotency_key, form))


@router.get("/api/v1/jobs/{job_id}", summary="One recording (Audio RAG)", responses=detail_answers(404))
async def ingest_job(job_id: JobId, caller: JobReader, services: ServicesOf) -> IngestJob:
    """Show where it stands."""
    job, result = await read_job(services.jobs, services.artifacts, caller.tenant, job_id)
    found = dict(result.results) if result else {}
    if result is None or "raw_transcript" not in found:
        return _body(job)
    heard = {"transcript": found["raw_transcript"], "language": result.language, "speakers": list(result.speakers)}
    return _body(job, heard)


@router.delete("/api/v1/jobs/{job_id}", summary="Cancel it (Audio RAG)", responses=detail_answers(404, 409))
async def cancel_ingest(job_id: JobId, caller: JobWriter, services: ServicesOf) -> IngestJob:
    """Stop a recording that is waiting or under way; 409 once it has ended."""
    return _body(await services.jobs.cancel(caller.tenant, job_id))


@router.post("/api/v1/query", summary="Search a collection (Audio RAG)", responses=detail_answers(404, 409))
async def query(fields: QueryFields, caller: Searcher, services: ServicesOf) -> QueryBody:
    """Search as `POST /v1/search` does."""
    collection = fields.collection or services.settings.compat.collection
    found = await _search(services, caller.tenant, fields, collection)
    return QueryBody(query=fields.query, collection=collection, results=[_hit(hit) for hit in found])


async def _search(services: Services, tenant: str, fields: QueryFields, collection: str) -> tuple[Hit, ...]:
    asked = SearchFields(query=fields.query, collection=collection, top_k=fields.top_k)
    return (await measured_search(services, tenant, to_request(asked, services.settings.limits))).hits


def _hit(hit: Hit) -> QueryHit:
    passage = hit.passage
    return QueryHit(
        text=passage.text,
        score=hit.score,
        job_id=passage.job_id,
        filename=passage.recording,
        start=passage.start_s,
        end=passage.end_s,
        speaker=passage.speakers[0] if passage.speakers else None,
        audio=audio_address(passage.job_id, passage.start_s, passage.end_s),
    )


def _body(job: Job, result: dict[str, Any] | None = None) -> IngestJob:
    cancelled = "the job was cancelled" if job.status is JobStatus.CANCELLED else None
    return IngestJob(
        job_id=job.job_id,
        status=_WORDS[job.status],
        collection=job.request.collection,
        priority=job.request.priority,
        filename=job.upload.filename,
        stage=job.stage,
        progress=min(1.0, max(0.0, job.progress)),
        created_at=job.created_at,
        started_at=job.started_at,
        completed_at=job.finished_at,
        attempts=job.attempts,
        error=job.error.message if job.error else cancelled,
        result=result,
    )
