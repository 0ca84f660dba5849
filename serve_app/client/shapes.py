"""What the server answers, as far as this client reads it. Servers may add fields, and never rename one."""

from typing import Any, NotRequired, TypedDict


class RecordingBody(TypedDict, total=False):
    """The recording of a job."""

    filename: str
    bytes: int
    duration_s: float | None


class ErrorBody(TypedDict, total=False):
    """Why a job failed."""

    message: str
    code: str
    stage: str | None


class JobBody(TypedDict):
    """One job: ``GET /v1/jobs/{id}``."""

    id: str
    kind: NotRequired[str]
    """``recording``, ``text``, ``chat`` or ``reindex``; a server without it knows the first only."""
    status: str
    stage: str | None
    progress: float
    queue_position: int | None
    features: list[str]
    collection: str | None
    recording: RecordingBody | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    error: ErrorBody | None
    results: dict[str, Any] | None
    versions: dict[str, Any] | None
    metrics: dict[str, Any] | None
    degraded: list[dict[str, str]]
    warnings: NotRequired[list[dict[str, Any]]]


class CoverageSpanBody(TypedDict):
    """A stretch of a recording, and what became of it."""

    start_s: float
    end_s: float
    kind: str
    reason: str | None


class CoverageBody(TypedDict):
    """``GET /v1/jobs/{id}/coverage``."""

    duration_s: float
    spans: list[CoverageSpanBody]
    totals: dict[str, float]


class JobListBody(TypedDict):
    """``GET /v1/jobs``."""

    data: list[JobBody]
    next_cursor: NotRequired[str | None]


class KeyBody(TypedDict):
    """One key of ``GET /v1/keys``."""

    id: str
    name: str
    tenant: str
    prefix: str
    scopes: list[str]
    status: str
    created_at: str
    expires_at: str | None


class NewKeyBody(KeyBody):
    """``POST /v1/keys``: the only answer that holds the key."""

    key: str


class KeyListBody(TypedDict):
    """``GET /v1/keys``."""

    data: list[KeyBody]


class UsageDayBody(TypedDict):
    """One day of ``GET /v1/usage``."""

    date: str
    requests: int
    jobs: int
    audio_minutes: float
    tokens: int


class UsageListBody(TypedDict):
    """``GET /v1/usage``."""

    data: list[UsageDayBody]


class ModelBody(TypedDict):
    """One model, as MAIE lists it."""

    id: str
    role: str
    status: str
    name: NotRequired[str | None]
    compute_type: NotRequired[str | None]
    device: NotRequired[str | None]
    fallback: NotRequired[dict[str, Any] | None]
    description: NotRequired[str]


class ImportedJob(TypedDict):
    """A recording that is being indexed again."""

    id: str
    source_id: str


class ImportBody(TypedDict):
    """What was taken of a collection's file."""

    collection: str
    jobs: list[ImportedJob]
    skipped: int
    erased: NotRequired[int]


class ModelsBody(TypedDict):
    """``GET /v1/models``."""

    models: list[ModelBody]


class SegmentBody(TypedDict, total=False):
    """A stretch of speech of one speaker."""

    id: int
    start_s: float
    end_s: float
    speaker: str | None
    text: str
    confidence: float | None


class TranscriptBody(TypedDict):
    """``GET /v1/jobs/{id}/transcript?format=json``."""

    language: str
    duration_s: float
    segments: list[SegmentBody]


class SpeakerBody(TypedDict):
    """Somebody who speaks in a recording."""

    name: str
    talk_s: float
    segments: int


class SpeakerList(TypedDict):
    """``GET /v1/jobs/{id}/speakers``."""

    revision: int
    data: list[SpeakerBody]


class SpanBody(TypedDict):
    """Characters of a text."""

    start: int
    end: int


class HitBody(TypedDict):
    """One found passage."""

    score: float
    scores: dict[str, float | None]
    collection: str
    job_id: str
    recording: str
    start_s: float
    end_s: float
    speakers: list[str]
    text: str
    highlights: NotRequired[list[SpanBody]]
    """What in the text answers the query."""
    audio: str


class SearchBody(TypedDict):
    """``POST /v1/search``."""

    query: str
    mode: str
    hits: list[HitBody]


class CitationBody(TypedDict):
    """A pointer into a recording."""

    n: int
    job_id: str
    recording: str
    start_s: float
    end_s: float
    speaker: str | None
    quote: str


class ChatBody(TypedDict):
    """``POST /v1/chat``."""

    answer: str
    citations: list[CitationBody]
    grounded: bool
    """The answer stands on passages that were found."""
    degraded: list[dict[str, str]]
