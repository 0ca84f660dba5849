"""A job's transcript, as data or as a file that people and players read."""

import asyncio
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from pipelines.domain.encoding import to_plain
from pipelines.errors import Conflict
from pipelines.exchange.writing import Titled, write_exchange
from pipelines.jobs.result import read_coverage, read_transcript
from pipelines.jobs.revisions import MOST_REVISIONS
from pipelines.recognition.formats import write_transcript
from serve_app.api.edge.authentication import JobReader
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import ServicesOf
from serve_app.api.edge.shapes import TranscriptBody, transcript_body
from serve_app.api.jobs.fields import JobId
from serve_app.api.jobs.revisions import REVISION_HEADER, etag_of

router = APIRouter(tags=["jobs"])
MEDIA_TYPES = {
    "text": "text/plain; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}
_EXCHANGE_TYPES: dict[str, str] = {
    "rttm": "text/plain; charset=utf-8",
    "stm": "text/plain; charset=utf-8",
    "ctm": "text/plain; charset=utf-8",
    "seglst": "application/json",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}
_WRITTEN = {
    media_type.split(";")[0]: {"schema": {"type": "string"}}
    for media_type in (*MEDIA_TYPES.values(), _EXCHANGE_TYPES["docx"])
}


@router.get(
    "/v1/jobs/{job_id}/transcript",
    summary="The transcript: json, text, srt, vtt, md, and for other tools rttm, stm, ctm, seglst, docx",
    response_model=TranscriptBody,
    responses={200: {"content": _WRITTEN, "headers": REVISION_HEADER}, **error_answers(404, 409)},
)
async def job_transcript(
    job_id: JobId,
    caller: JobReader,
    services: ServicesOf,
    response: Response,
    form: Annotated[
        Literal["json", "text", "srt", "vtt", "md", "rttm", "stm", "ctm", "seglst", "docx"], Query(alias="format")
    ] = "json",
    revision: Annotated[int | None, Query(ge=1, le=MOST_REVISIONS, description="An older one.")] = None,
) -> TranscriptBody | Response:
    """Give the best transcript there is: corrected, else with speakers once they are attributed. 409 before."""
    job, found = await read_transcript(services.jobs, services.artifacts, caller.tenant, job_id, revision=revision)
    if found is None:
        raise Conflict("this job has no transcript yet")
    headers = {"etag": etag_of(found)}
    match form:
        case "json":
            response.headers.update(headers)
            return transcript_body(found.transcript)
        case "text" | "srt" | "vtt" | "md":
            return Response(write_transcript(found.transcript, form), media_type=MEDIA_TYPES[form], headers=headers)
        case _:
            titled = Titled(title=job.upload.filename, transcript=found.transcript)
            written = await asyncio.to_thread(write_exchange, titled, form)
            headers["content-disposition"] = f"attachment; filename*=UTF-8''{quote(f'{titled.name}.{form}', safe='')}"
            return Response(written, media_type=_EXCHANGE_TYPES[form], headers=headers)


class CoverageSpanBody(BaseModel):
    """A stretch of the recording, and what became of it."""

    start_s: float
    end_s: float
    kind: Literal["text", "dropped", "noise", "silence"]
    reason: str | None = Field(description="Why speech was dropped; `damaged` where nothing could be decoded.")


class CoverageTotals(BaseModel):
    """Seconds of each kind; together the duration."""

    text: float
    dropped: float
    noise: float
    silence: float


class CoverageBody(BaseModel):
    """Disjoint spans in order, without gaps."""

    duration_s: float
    spans: list[CoverageSpanBody]
    totals: CoverageTotals


@router.get(
    "/v1/jobs/{job_id}/coverage",
    summary="What became of every second: text, dropped speech, noise or silence",
    responses=error_answers(404, 409),
)
async def job_coverage(job_id: JobId, caller: JobReader, services: ServicesOf) -> CoverageBody:
    """Account for the whole recording by its latest transcript.

    A moment is the first of these that it can be: `text` (words, joined over pauses under 0.5 s); `dropped` (detected
    speech of 0.5 s or more without a word, beyond the padding of the detector, or what could not be decoded); `noise`
    (louder than -50 dBFS); `silence`. 409 before there is a transcript.
    """
    coverage = await read_coverage(services.jobs, services.artifacts, caller.tenant, job_id)
    return CoverageBody(
        duration_s=coverage.duration_s,
        spans=[CoverageSpanBody(**to_plain(span)) for span in coverage.spans],
        totals=CoverageTotals(**coverage.totals),
    )
