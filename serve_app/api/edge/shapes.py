"""What many answers of the API hold. Fields may be added, never renamed."""

from collections.abc import Iterable

from pydantic import BaseModel

from pipelines.domain.audio import AudioWarning, WarningCode
from pipelines.domain.encoding import to_plain
from pipelines.domain.transcript import Segment, Transcript, Word


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class DegradationBody(BaseModel):
    """Something else than what was wanted was used."""

    stage: str
    wanted: str
    used: str
    reason: str


class WarningBody(BaseModel):
    """Something about a recording that its owner should know, though it was transcribed."""

    code: WarningCode
    message: str
    start_s: float | None
    end_s: float | None


def warning_bodies(warnings: Iterable[AudioWarning]) -> list[WarningBody]:
    """Show warnings."""
    return [WarningBody(**to_plain(warning)) for warning in warnings]


class WordBody(BaseModel):
    """One word."""

    text: str
    start_s: float
    end_s: float
    speaker: str | None
    confidence: float | None
    aligned: bool = True
    """False: somebody wrote it, and its time is its share of the span in which it stands."""


class SegmentBody(BaseModel):
    """A stretch of speech of one speaker."""

    id: int
    start_s: float
    end_s: float
    speaker: str | None
    text: str
    confidence: float | None
    words: list[WordBody]
    language: str | None = None
    """Where it is not the transcript's."""


class TranscriptBody(BaseModel):
    """A whole recording as text."""

    language: str
    duration_s: float
    segments: list[SegmentBody]


def job_path(job_id: str) -> str:
    """Return a job's address."""
    return f"/v1/jobs/{job_id}"


def transcript_body(transcript: Transcript) -> TranscriptBody:
    """Show a transcript."""
    return TranscriptBody(
        language=transcript.language,
        duration_s=transcript.duration_s,
        segments=[_segment_body(segment) for segment in transcript.segments],
    )


def _segment_body(segment: Segment) -> SegmentBody:
    return SegmentBody(**to_plain(segment) | {"words": [_word_body(word) for word in segment.words]})


def _word_body(word: Word) -> WordBody:
    return WordBody(**to_plain(word))
