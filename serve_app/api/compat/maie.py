"""MAIE's routes: a recording in, a transcript and a summary out. Its lists are in `GET /v1/models`, `/v1/templates`."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from pipelines import __version__
from pipelines.domain.job import Job, JobResult, JobStatus
from pipelines.errors import RayScribeError
from pipelines.jobs.result import read_job
from serve_app.api.compat.edge import FormValues, detail_answers, job_form
from serve_app.api.edge.authentication import AnyCaller, JobReader, JobWriter
from serve_app.api.edge.documentation import form_body
from serve_app.api.edge.requests import ServicesOf
from serve_app.api.jobs.fields import IdempotencyKey, JobId, parse_job_fields
from serve_app.api.jobs.submission import submit_upload
from serve_app.api.openai.models import loaded_models

router = APIRouter(tags=["MAIE"])
Word = Literal["PENDING", "PREPROCESSING", "PROCESSING_ASR", "PROCESSING_LLM", "COMPLETE", "FAILED"]
_STAGES: dict[str | None, Word] = {
    None: "PREPROCESSING", "fetch": "PREPROCESSING", "prepare": "PREPROCESSING", "transcribe": "PROCESSING_ASR",
    "diarize": "PROCESSING_ASR", "attribute": "PROCESSING_ASR", "redact": "PROCESSING_ASR",
}  # fmt: skip
"""What is under way; everything after it is PROCESSING_LLM."""
_WORDS: dict[JobStatus, Word] = {
    JobStatus.QUEUED: "PENDING",
    JobStatus.SUCCEEDED: "COMPLETE",
    JobStatus.FAILED: "FAILED",
    JobStatus.CANCELLED: "FAILED",
}


class ProcessFields(BaseModel):
    """What MAIE's clients say about a recording."""

    features: list[str] = Field(default=["clean_transcript", "summary"], description="Repeated, as in `POST /v1/jobs`.")
    template_id: str | None = Field(default=None, description="Required with `summary`.")
    asr_backend: str | None = Field(default=None, description="A backend or model that `GET /v1/models` lists.")


class AcceptedTask(BaseModel):
    """The recording will be worked on."""

    task_id: str


class AsrBackend(BaseModel):
    """The recognizer that ran."""

    name: str | None
    model_variant: str | None
    model_path: str | None
    """Relative to the models folder."""
    checkpoint_hash: str | None
    compute_type: str | None
    decoding_params: dict[str, Any]


class TaskVersions(BaseModel):
    """What ran."""

    pipeline_version: str
    asr_backend: AsrBackend | None
    enhancement_llm: dict[str, Any] | None
    summarization_llm: dict[str, Any] | None


class TaskMetrics(BaseModel):
    """What it cost and how well it went."""

    input_duration_seconds: float | None
    processing_time_seconds: float | None
    rtf: float | None
    vad_coverage: float | None
    asr_confidence_avg: float | None
    edit_rate_cleaning: float | None


class TaskResults(BaseModel):
    """What was asked for."""

    raw_transcript: str | None
    clean_transcript: str | None
    summary: Any


class TaskStatus(BaseModel):
    """One task; versions, metrics and results as far as they are known."""

    task_id: str
    status: Word
    submitted_at: str
    completed_at: str | None
    versions: TaskVersions | None
    metrics: TaskMetrics | None
    results: TaskResults | None
    error: str | None
    error_code: str | None


class MaieHealth(BaseModel):
    """Whether work can be taken."""

    status: Literal["healthy", "degraded"]
    version: str
    redis_connected: bool
    """The job store answers: there is no Redis behind it."""
    queue_depth: int | None
    """Waiting tasks of the caller."""
    worker_active: bool
    """The recognizer answers."""


def _read(values: FormValues) -> Any:
    return parse_job_fields({"features": ["clean_transcript", "summary"], **values})


_FORM = job_form(ProcessFields, _read)


@router.post(
    "/v1/process",
    status_code=202,
    summary="Process a recording (MAIE)",
    responses=detail_answers(408, 409, 415),
    openapi_extra={"requestBody": form_body(ProcessFields, "The recording: wav, mp3, m4a, flac, or any container.")},
)
async def process(
    request: Request, caller: JobWriter, services: ServicesOf, idempotency_key: IdempotencyKey
) -> AcceptedTask:
    """Take a recording as `POST /v1/jobs` does; the task's id is the job's."""
    job = await submit_upload(request, services, caller.tenant, idempotency_key, _FORM)
    return AcceptedTask(task_id=job.job_id)


@router.get("/v1/status/{job_id}", summary="One task (MAIE)", responses=detail_answers(404))
async def task_status(job_id: JobId, caller: JobReader, services: ServicesOf) -> TaskStatus:
    """Show where a task stands, and what it has produced so far."""
    job, result = await read_job(services.jobs, services.artifacts, caller.tenant, job_id)
    return TaskStatus(
        task_id=job.job_id,
        status=_word(job),
        submitted_at=job.created_at,
        completed_at=job.finished_at,
        versions=_versions(result) if result else None,
        metrics=_metrics(result) if result else None,
        results=_results(result) if result else None,
        error=_error(job),
        error_code=job.error.code if job.error else None,
    )


@router.get("/health", summary="Whether work can be taken (MAIE)", responses=detail_answers())
async def health(caller: AnyCaller, services: ServicesOf) -> MaieHealth:
    """Ask the job store and the recognizer."""
    try:
        waiting: int | None = (await services.jobs.depth(caller.tenant)).tenant_waiting
    except RayScribeError:
        waiting = None
    works = (await loaded_models(services))["asr"] is not None
    return MaieHealth(
        status="healthy" if works and waiting is not None else "degraded",
        version=__version__,
        redis_connected=waiting is not None,
        queue_depth=waiting,
        worker_active=works,
    )


def _word(job: Job) -> Word:
    return _STAGES.get(job.stage, "PROCESSING_LLM") if job.status is JobStatus.RUNNING else _WORDS[job.status]


def _error(job: Job) -> str | None:
    if job.error is not None:
        return job.error.message
    return "the task was cancelled" if job.status is JobStatus.CANCELLED else None


def _versions(result: JobResult) -> TaskVersions:
    versions: dict[str, Any] = dict(result.versions)
    asr, written = versions.get("asr"), versions.get("llm", {})
    return TaskVersions(
        pipeline_version=versions["pipeline"],
        asr_backend=AsrBackend(
            name=asr["backend"],
            model_variant=asr["variant"] or asr["model"],
            model_path=asr["model"],
            checkpoint_hash=asr["checkpoint_hash"],
            compute_type=asr["compute_type"],
            decoding_params=asr["decoding"],
        )
        if asr
        else None,
        enhancement_llm=written.get("clean_transcript"),
        summarization_llm=written.get("summary"),
    )


def _metrics(result: JobResult) -> TaskMetrics:
    metrics = result.metrics
    return TaskMetrics(
        input_duration_seconds=metrics.input_duration_s,
        processing_time_seconds=metrics.processing_s,
        rtf=metrics.rtf,
        vad_coverage=metrics.vad_coverage,
        asr_confidence_avg=metrics.asr_confidence_avg,
        edit_rate_cleaning=metrics.edit_rate_cleaning,
    )


def _results(result: JobResult) -> TaskResults:
    found: dict[str, Any] = dict(result.results)
    return TaskResults(
        raw_transcript=found.get("raw_transcript"),
        clean_transcript=found.get("clean_transcript"),
        summary=found.get("summary"),
    )
