"""Jobs: what was asked, where it stands, what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pipelines.domain.audio import AudioWarning, ChannelMode, Recording
from pipelines.domain.model import Degradation
from pipelines.domain.transcript import DroppedSpan

Priority = Literal["high", "normal", "low"]
Enhance = Literal["auto", "always", "never"]
"""Whether a transcript is rewritten to be readable; ``auto``: unless the speech model writes punctuation itself."""
EventType = Literal["queued", "started", "stage", "window", "warning", "succeeded", "failed", "cancelled"]
TERMINAL_EVENTS: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})


class JobKind(StrEnum):
    """What a job works on. All kinds share one queue, its states and its events."""

    RECORDING = "recording"
    """An uploaded recording, by features."""
    TEXT = "text"
    """A text skill on text that arrived without a recording."""
    CHAT = "chat"
    """A question over collections."""
    REVISION = "revision"
    """What was made of a transcript that somebody has corrected since."""
    REINDEX = "reindex"
    """A collection embedded anew by the embedder that is loaded now."""


class JobStatus(StrEnum):
    """``queued → running → succeeded | failed | cancelled``."""

    QUEUED = "queued"
    """Acknowledged, and waiting for a runner."""
    RUNNING = "running"
    """A runner has it, or had it and will be replaced."""
    SUCCEEDED = "succeeded"
    """The result is written, once."""
    FAILED = "failed"
    """A stage failed for good; what earlier stages produced is kept, and a retry goes on from there."""
    CANCELLED = "cancelled"
    """Somebody asked for it to stop."""

    @property
    def ended(self) -> bool:
        """No further event will come."""
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What was asked, checked and with defaults filled in. Stored as JSON with the job; holds no spoken content.

    A text skill is the one feature of its job; a chat and a reindexing have none.
    """

    features: tuple[str, ...] = ("raw_transcript",)
    """Names of the table in ``pipelines/jobs/features.py``."""
    template_id: str | None = None
    """Required with ``summary``."""
    collection: str | None = None
    """Required with ``index``."""
    language: str | None = None
    priority: Priority = "normal"
    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    asr_backend: str | None = None
    prompt: str | None = None
    """Names and terms to expect."""
    target_language: str | None = None
    """For ``translation``."""
    channels: ChannelMode = "auto"
    """How a recording of two channels is heard."""
    enhance: Enhance = "auto"
    """For ``clean_transcript``."""
    labels: tuple[str, ...] = ()
    """For ``classification``."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None
    """Where the recording is to be fetched from; None: it was sent."""
    webhook_url: str | None = None
    """Who is told when the job has ended, beside the tenant's webhooks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What was received, counted while its bytes came in, and where they are.

    A recording; one that is still to be fetched has no bytes and no hash yet. Of other kinds of jobs the request itself
    as JSON: texts and questions belong into the artifact store.
    """

    filename: str
    sha256: str
    bytes: int
    artifact: str
    """Key in the artifact store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job about to be acknowledged. ``job_id`` decides identity: enqueuing the same id twice is one job."""

    job_id: str
    tenant: str
    request: JobRequest
    upload: Upload
    created_at: str
    """UTC, RFC 3339."""
    body_hash: str
    """Of fields and file, to tell a repeat from a conflict under one idempotency key."""
    kind: JobKind = JobKind.RECORDING


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailure:
    """Why a job failed, in words that may be shown to its owner."""

    message: str
    code: str
    stage: str | None
    param: str | None = None
    type: str = "job_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Where a job stands: everything but its results, which are artifacts."""

    job_id: str
    tenant: str
    request: JobRequest
    upload: Upload
    status: JobStatus
    stage: str | None
    """What is running, or what failed: of the table in ``pipelines/jobs/stages.py``; a chat has only ``answer``."""
    progress: float
    """0–1 over all stages."""
    queue_position: int | None
    """1-based among the tenant's waiting jobs; None once it runs."""
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    attempts: int = 0
    error: JobFailure | None = None
    kind: JobKind = JobKind.RECORDING


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMetrics:
    """What a job cost and how well it went; definitions in the design's decisions."""

    input_duration_s: float | None = None
    processing_s: float | None = None
    rtf: float | None = None
    stage_s: Mapping[str, float] = field(default_factory=dict)
    waiting_s: float | None = None
    """Of these seconds, those in which the job waited: for its turn, or for what was busy or away."""
    vad_coverage: float | None = None
    asr_confidence_avg: float | None = None
    edit_rate_cleaning: float | None = None
    windows: int | None = None
    redecoded_windows: int | None = None
    dropped_spans: tuple[DroppedSpan, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Enhancement:
    """Whether the transcript was made readable."""

    ran: bool
    reason: str | None = None
    """Why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What came of a job: the artifact ``result.json``, written once, when the last stage has ended."""

    recording: Recording | None = None
    """None: the job was about no recording."""
    language: str | None = None
    speakers: tuple[str, ...] = ()
    results: Mapping[str, object] = field(default_factory=dict)
    """By feature: ``raw_transcript`` (text), ``clean_transcript`` (text), ``summary`` (by the template's schema), …

    Of other kinds: by skill (``summarize``, …), ``chat`` (an Answer), ``reindex``.
    """
    versions: Mapping[str, object] = field(default_factory=dict)
    metrics: JobMetrics = JobMetrics()
    enhancement: Enhancement | None = None
    """None: no enhancement was asked for, or it has not ended."""
    degraded: tuple[Degradation, ...] = ()
    warnings: tuple[AudioWarning, ...] = ()
    """What may be uncertain because of the recording itself."""
    revision: int | None = None
    """Latest of the transcript; None where there is none, and in the artifact."""
    stale: tuple[str, ...] = ()
    """Keys of ``results`` that were made of an older revision; never in the artifact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One entry of a job's durable event stream. ``id`` is its offset: increasing, gapless, usable as Last-Event-ID."""

    id: int
    type: EventType
    data: Mapping[str, object] = field(default_factory=dict)
    """JSON-able. ``stage``: stage, progress, and of recordings waiting_s. ``warning``: code, start_s, end_s.
    ``failed``: the error. ``window``: start_s, end_s, and where its text is kept (artifact, window), since the job
    database holds no words; ``result.job_events`` puts the text there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilters:
    """Which of a tenant's jobs to list; None: any."""

    status: JobStatus | None = None
    collection: str | None = None
    created_after: str | None = None
    created_before: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Newest first; ``next_cursor`` is None on the last page."""

    jobs: tuple[Job, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """How many jobs wait, and how fast they leave, for limits and Retry-After."""

    tenant_waiting: int
    total_waiting: int
    drained_per_s: float | None
    """Measured over the last jobs that ended; None before any has."""
