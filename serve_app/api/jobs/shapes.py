"""What the API says about jobs, every key of the contract. Fields may be added, never renamed."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field

from pipelines.domain.answer import Answer
from pipelines.domain.encoding import from_plain, to_plain
from pipelines.domain.job import Job, JobKind, JobMetrics, JobResult
from serve_app.api.edge.shapes import DegradationBody, ErrorDetail, WarningBody, job_path, warning_bodies
from serve_app.api.retrieval.chat_shapes import chat_body

JobKindName = Literal["recording", "text", "chat", "reindex", "revision"]
JobStatusName = Literal["queued", "running", "succeeded", "failed", "cancelled"]
RESULT_KEYS = (
    "raw_transcript", "clean_transcript", "summary", "translation", "entities", "classification", "quality",
)  # fmt: skip


class JobErrorDetail(ErrorDetail):
    """Why a job failed, and in which stage."""

    stage: str | None


class RecordingBody(BaseModel):
    """The recording of a job; what only decoding can tell is null until it has been probed."""

    filename: str
    sha256: str
    bytes: int
    duration_s: float | None = None
    duration_estimated: bool = False
    """Reckoned from size and bit rate, until it has been decoded."""
    container: str | None = None
    codec: str | None = None
    channels: int | None = None
    sample_rate_hz: int | None = None


class JobLinks(BaseModel):
    """Where the rest of a job is; only a recording's job has a transcript and sound."""

    self: str
    events: str
    transcript: str | None
    audio: str | None


class DroppedSpanBody(BaseModel):
    """Detected speech that no kept segment overlaps."""

    start_s: float
    end_s: float
    reason: str


class MetricsBody(BaseModel):
    """What a job cost and how well it went."""

    input_duration_s: float | None = None
    processing_s: float | None = None
    rtf: float | None = None
    stage_s: dict[str, float] = {}
    waiting_s: float | None = None
    vad_coverage: float | None = None
    asr_confidence_avg: float | None = None
    edit_rate_cleaning: float | None = None
    windows: int | None = None
    redecoded_windows: int | None = None
    dropped_spans: list[DroppedSpanBody] = []


class EnhancementBody(BaseModel):
    """Whether the transcript was made readable, and why not."""

    ran: bool
    reason: str | None


class JobBody(BaseModel):
    """One job; what makes no sense for its kind is null or empty."""

    id: str
    object: Literal["job"] = "job"
    kind: JobKindName
    status: JobStatusName
    stage: str | None
    progress: float = Field(ge=0, le=1)
    queue_position: int | None
    features: list[str]
    collection: str | None
    template_id: str | None
    priority: str
    language: str | None
    metadata: dict[str, str]
    recording: RecordingBody | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    attempts: int
    error: JobErrorDetail | None
    results: dict[str, Any]
    versions: dict[str, Any]
    metrics: MetricsBody
    enhancement: EnhancementBody | None = None
    revision: int | None = None
    """Latest of its transcript: more than 1 where somebody has corrected it."""
    stale: list[str] = []
    """Keys of `results` that were made of an older revision; `POST …/remake` makes them again."""
    degraded: list[DegradationBody]
    warnings: list[WarningBody] = []
    """What may be uncertain because of the recording itself."""
    links: JobLinks


class JobList(BaseModel):
    """A page of jobs, newest first."""

    object: Literal["list"] = "list"
    data: list[JobBody]
    has_more: bool
    next_cursor: str | None


def job_body(job: Job, result: JobResult | None = None) -> JobBody:
    """Show a job; ``result`` is there once its last stage has ended."""
    request = job.request
    return JobBody(
        id=job.job_id,
        kind=job.kind.value,
        status=job.status.value,
        stage=job.stage,
        progress=min(1.0, max(0.0, job.progress)),
        queue_position=job.queue_position,
        features=list(request.features),
        collection=request.collection,
        template_id=request.template_id,
        priority=request.priority,
        language=request.language,
        metadata=dict(request.metadata),
        recording=_recording_body(job, result),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        attempts=job.attempts,
        error=JobErrorDetail(**to_plain(job.error)) if job.error else None,
        results=_results(result),
        versions=dict(result.versions) if result else {},
        metrics=MetricsBody(**to_plain(result.metrics if result else JobMetrics())),
        enhancement=EnhancementBody(**to_plain(result.enhancement)) if result and result.enhancement else None,
        revision=result.revision if result else None,
        stale=list(result.stale if result else ()),
        degraded=[DegradationBody(**to_plain(entry)) for entry in (result.degraded if result else ())],
        warnings=warning_bodies(result.warnings if result else ()),
        links=_links(job),
    )


def _links(job: Job) -> JobLinks:
    path = job_path(job.job_id)
    heard = job.kind is JobKind.RECORDING
    return JobLinks(
        self=path,
        events=f"{path}/events",
        transcript=f"{path}/transcript" if heard else None,
        audio=f"{path}/audio" if heard else None,
    )


def _recording_body(job: Job, result: JobResult | None) -> RecordingBody | None:
    if job.kind is not JobKind.RECORDING:
        return None
    if result is not None and result.recording is not None:
        return RecordingBody(**to_plain(result.recording))
    return RecordingBody(filename=job.upload.filename, sha256=job.upload.sha256, bytes=job.upload.bytes)


def _results(result: JobResult | None) -> dict[str, Any]:
    found: Mapping[str, object] = result.results if result else {}
    language = {"language": result.language if result else None, "speakers": list(result.speakers if result else ())}
    return {key: found.get(key) for key in RESULT_KEYS} | {**found} | _chat(found) | language


def _chat(found: Mapping[str, object]) -> dict[str, Any]:
    """Show an answer as `POST /v1/chat` does; its versions and degradations are the job's."""
    if "chat" not in found:
        return {}
    return {"chat": chat_body(from_plain(Answer, found["chat"])).model_dump(exclude={"versions", "degraded"})}
