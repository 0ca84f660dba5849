"""A job's transcript corrected: words, speakers, revisions, and what is made anew of them."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, Field

from pipelines.domain.transcript import Revision, RevisionOrigin, Transcript
from pipelines.errors import Conflict, InvalidRequest, RevisionUnknown
from pipelines.jobs.result import read_transcript
from pipelines.jobs.revise import remake, revise_transcript
from pipelines.jobs.revisions import load_revision
from pipelines.recognition.corrections import (
    MAX_NAME,
    MAX_TEXT,
    CorrectedWord,
    SegmentCorrection,
    SpeakerEdits,
    SpeakerSplit,
    correct_segments,
    edit_speakers,
    talk_times,
)
from serve_app.api.edge.authentication import Caller, JobReader, JobWriter
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import RequestBody, ServicesOf
from serve_app.api.edge.shapes import TranscriptBody, transcript_body
from serve_app.api.jobs.fields import JobId
from serve_app.api.jobs.shapes import JobBody, job_body
from serve_app.api.jobs.submission import ACCEPTED
from serve_app.services import Services

router = APIRouter(tags=["jobs"])
_MOST_SEGMENTS = 10_000
_LISTED = 100
IfMatch = Annotated[
    str | None,
    Header(description="The revision that the change was made from: the transcript's `ETag`.", max_length=40),
]
REVISION_HEADER = {"ETag": {"description": "The transcript's revision.", "schema": {"type": "string"}}}
_CHANGED: dict[int | str, dict[str, Any]] = {200: {"headers": REVISION_HEADER}}


class WordFields(RequestBody):
    """A word as it should be; without times it gets its share of the span in which it stands."""

    text: str = Field(min_length=1, max_length=MAX_NAME)
    start_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    end_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class SegmentFields(RequestBody):
    """What changes in one segment; what is left out stays."""

    id: int = Field(ge=0)
    text: str | None = Field(default=None, max_length=MAX_TEXT, description="An empty one removes the segment.")
    words: list[WordFields] | None = Field(default=None, max_length=2_000, description="Instead of a text.")
    speaker: str | None = Field(default=None, max_length=MAX_NAME, description="An empty one: nobody knows who.")


class CorrectionFields(RequestBody):
    """What changes in a transcript."""

    segments: list[SegmentFields] = Field(min_length=1, max_length=_MOST_SEGMENTS)


class SplitFields(RequestBody):
    """Segments of a speaker that somebody else said."""

    speaker: str = Field(max_length=MAX_NAME)
    segment_ids: list[int] = Field(min_length=1, max_length=_MOST_SEGMENTS)
    name: str = Field(max_length=MAX_NAME)


class SpeakerFields(RequestBody):
    """Applied in this order: split, merge, rename."""

    split: list[SplitFields] = Field(default=[], max_length=100)
    merge: list[list[str]] = Field(
        default=[], max_length=100, description="Groups of names that are one person: the first one's name stays."
    )
    rename: dict[str, str] = Field(default={}, max_length=1_000)


class SpeakerBody(BaseModel):
    """Somebody who speaks in a recording."""

    name: str
    talk_s: float
    segments: int


class SpeakerList(BaseModel):
    """Who speaks, in the order in which they first do."""

    object: Literal["list"] = "list"
    revision: int
    data: list[SpeakerBody]


class RevisionBody(BaseModel):
    """When and by whom a transcript was changed."""

    revision: int
    origin: RevisionOrigin
    author: str
    created_at: str | None


class RevisionList(BaseModel):
    """Revisions of a transcript, newest first."""

    object: Literal["list"] = "list"
    data: list[RevisionBody]


def etag_of(revision: Revision) -> str:
    """Return the ETag of a transcript's revision."""
    return f'"{revision.number}"'


@router.patch(
    "/v1/jobs/{job_id}/transcript",
    summary="Correct a transcript",
    responses={**_CHANGED, **error_answers(404, 409, 412, 428)},
)
async def correct(
    job_id: JobId,
    caller: JobWriter,
    services: ServicesOf,
    response: Response,
    fields: CorrectionFields,
    if_match: IfMatch = None,
) -> TranscriptBody:
    """Make a new revision. Words that stay keep their times; passages are embedded anew, by a job of its own.

    Summaries, entities and answers that were made of an older revision are marked `stale` with their job.
    """
    corrections = [
        SegmentCorrection(
            id=segment.id,
            text=segment.text,
            words=None
            if segment.words is None
            else tuple(CorrectedWord(**word.model_dump()) for word in segment.words),
            speaker=segment.speaker,
        )
        for segment in fields.segments
    ]
    revision = await _revise(
        services,
        caller,
        job_id,
        if_match,
        "correction",
        lambda transcript: correct_segments(transcript, corrections),
    )
    response.headers["etag"] = etag_of(revision)
    return transcript_body(revision.transcript)


@router.get("/v1/jobs/{job_id}/speakers", summary="Who speaks in a recording", responses=error_answers(404, 409))
async def list_speakers(job_id: JobId, caller: JobReader, services: ServicesOf, response: Response) -> SpeakerList:
    """List speakers with how long they speak; the `ETag` is the transcript's."""
    _job, revision = await read_transcript(services.jobs, services.artifacts, caller.tenant, job_id)
    if revision is None:
        raise Conflict("this job has no transcript yet")
    response.headers["etag"] = etag_of(revision)
    return _speakers(revision)


@router.patch(
    "/v1/jobs/{job_id}/speakers",
    summary="Name, merge and split speakers",
    responses={**_CHANGED, **error_answers(404, 409, 412, 428)},
)
async def change_speakers(
    job_id: JobId,
    caller: JobWriter,
    services: ServicesOf,
    response: Response,
    fields: SpeakerFields,
    if_match: IfMatch = None,
) -> SpeakerList:
    """Make a new revision in which the names stand: in subtitles, passages, filters and citations too."""
    edits = SpeakerEdits(
        split=tuple(
            SpeakerSplit(speaker=split.speaker, segment_ids=tuple(split.segment_ids), name=split.name)
            for split in fields.split
        ),
        merge=tuple(map(tuple, fields.merge)),
        rename=fields.rename,
    )
    revision = await _revise(
        services, caller, job_id, if_match, "speakers", lambda transcript: edit_speakers(transcript, edits)
    )
    response.headers["etag"] = etag_of(revision)
    return _speakers(revision)


@router.get("/v1/jobs/{job_id}/revisions", summary="Who changed a transcript when", responses=error_answers(404, 409))
async def get_revisions(job_id: JobId, caller: JobReader, services: ServicesOf) -> RevisionList:
    """List the latest hundred; each can be read with `GET …/transcript?revision=`."""
    _job, latest = await read_transcript(services.jobs, services.artifacts, caller.tenant, job_id)
    if latest is None:
        raise Conflict("this job has no transcript yet")
    found = [latest]
    for number in range(latest.number - 1, max(0, latest.number - _LISTED), -1):
        if number == 1:
            found.append(Revision(number=1, transcript=latest.transcript))
        else:
            found.append(await load_revision(services.artifacts, caller.tenant, job_id, number))
    return RevisionList(
        data=[
            RevisionBody(
                revision=revision.number, origin=revision.origin, author=revision.author, created_at=revision.created_at
            )
            for revision in found
        ]
    )


@router.post(
    "/v1/jobs/{job_id}/remake",
    status_code=202,
    summary="Make again what is older than the transcript",
    responses={**ACCEPTED, **error_answers(404, 409)},
)
async def remake_stale(job_id: JobId, caller: JobWriter, services: ServicesOf, response: Response) -> JobBody:
    """Acknowledge a job that makes the stale results of this one again; 409 where nothing is stale."""
    job = await remake(services.jobs, services.artifacts, caller.tenant, job_id)
    response.headers["location"] = f"/v1/jobs/{job.job_id}"
    return job_body(job)


async def _revise(
    services: Services,
    caller: Caller,
    job_id: str,
    if_match: str | None,
    origin: RevisionOrigin,
    change: Callable[[Transcript], Transcript],
) -> Revision:
    return await revise_transcript(
        services.jobs,
        services.artifacts,
        caller.tenant,
        job_id,
        change,
        expected=_revision_in(if_match),
        origin=origin,
        author=caller.key_id,
    )


def _revision_in(if_match: str | None) -> int:
    if if_match is None:
        raise RevisionUnknown("say which revision was changed: If-Match with the transcript's ETag", "If-Match")
    number = if_match.strip().removeprefix("W/").strip('"')
    if not (number.isascii() and number.isdigit()):
        raise InvalidRequest("If-Match is the ETag of a transcript, a number in quotes", "If-Match")
    return int(number)


def _speakers(revision: Revision) -> SpeakerList:
    return SpeakerList(
        revision=revision.number,
        data=[
            SpeakerBody(name=name, talk_s=round(talk_s, 3), segments=segments)
            for name, (talk_s, segments) in talk_times(revision.transcript).items()
        ],
    )
