"""What the API answers with, every key of the contract. Fields may be added, never renamed."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field

from pipelines.domain.encoding import to_plain
from pipelines.domain.job import Job, JobMetrics, JobResult
from pipelines.domain.transcript import Segment, Transcript, Word

JobStatusName = Literal["queued", "running", "succeeded", "failed", "cancelled"]
RESULT_KEYS = (
    "raw_transcript", "clean_transcript", "summary", "translation", "entities", "classification", "quality",
)  # fmt: skip


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class JobErrorDetail(ErrorDetail):
    """Why a job failed, and in which stage."""

    stage: str | None


class RecordingBody(BaseModel):
    """The recording of a job; what only decoding can tell is null until it has been probed."""

    filename: str
    sha256: str
    bytes: int
    duration_s: float | None = None
    container: str | None = None
    codec: str | None = None
    channels: int | None = None
    sample_rate_hz: int | None = None


class JobLinks(BaseModel):
    """Where the rest of a job is."""

    self: str
    events: str
    transcript: str
    audio: str


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
    vad_coverage: float | None = None
    asr_confidence_avg: float | None = None
    edit_rate_cleaning: float | None = None
    windows: int | None = None
    redecoded_windows: int | None = None
    dropped_spans: list[DroppedSpanBody] = []


class DegradationBody(BaseModel):
    """Something else than what was wanted was used."""

    stage: str
    wanted: str
    used: str
    reason: str


class JobBody(BaseModel):
    """One job."""

    id: str
    object: Literal["job"] = "job"
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
    recording: RecordingBody
    created_at: str
    started_at: str | None
    finished_at: str | None
    attempts: int
    error: JobErrorDetail | None
    results: dict[str, Any]
    versions: dict[str, Any]
    metrics: MetricsBody
    degraded: list[DegradationBody]
    links: JobLinks


class JobList(BaseModel):
    """A page of jobs, newest first."""

    object: Literal["list"] = "list"
    data: list[JobBody]
    has_more: bool
    next_cursor: str | None


class WordBody(BaseModel):
    """One word."""

    text: str
    start_s: float
    end_s: float
    speaker: str | None
    confidence: float | None


class SegmentBody(BaseModel):
    """A stretch of speech of one speaker."""

    id: int
    start_s: float
    end_s: float
    speaker: str | None
    text: str
    confidence: float | None
    words: list[WordBody]


class TranscriptBody(BaseModel):
    """A whole recording as text."""

    language: str
    duration_s: float
    segments: list[SegmentBody]


def job_body(job: Job, result: JobResult | None = None) -> JobBody:
    """Show a job; ``result`` is there once its last stage has ended."""
    request = job.request
    return JobBody(
        id=job.job_id,
        status=job.status.value,
        stage=job.stage.value if job.stage else None,
        progress=min(1.0, max(0.0, job.progress)),
        queue_position=job.queue_position,
        features=[feature.value for feature in request.features],
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
        degraded=[DegradationBody(**to_plain(entry)) for entry in (result.degraded if result else ())],
        links=job_links(job.job_id),
    )


def job_links(job_id: str) -> JobLinks:
    """Return a job's addresses."""
    path = f"/v1/jobs/{job_id}"
    return JobLinks(self=path, events=f"{path}/events", transcript=f"{path}/transcript", audio=f"{path}/audio")


def transcript_body(transcript: Transcript) -> TranscriptBody:
    """Show a transcript."""
    return TranscriptBody(
        language=transcript.language,
        duration_s=transcript.duration_s,
        segments=[_segment_body(segment) for segment in transcript.segments],
    )


def _recording_body(job: Job, result: JobResult | None) -> RecordingBody:
    if result is not None:
        return RecordingBody(**to_plain(result.recording))
    return RecordingBody(filename=job.upload.filename, sha256=job.upload.sha256, bytes=job.upload.bytes)


def _results(result: JobResult | None) -> dict[str, Any]:
    found: Mapping[str, object] = result.results if result else {}
    language = {"language": result.language if result else None, "speakers": list(result.speakers if result else ())}
    return {key: found.get(key) for key in RESULT_KEYS} | {**found} | language


def _segment_body(segment: Segment) -> SegmentBody:
    return SegmentBody(**to_plain(segment) | {"words": [_word_body(word) for word in segment.words]})


def _word_body(word: Word) -> WordBody:
    return WordBody(**to_plain(word))
