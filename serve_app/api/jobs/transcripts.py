"""A job's transcript, as data or as a file that people and players read."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from pipelines.errors import Conflict
from pipelines.jobs.result import read_transcript
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
_WRITTEN = {media_type.split(";")[0]: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES.values()}


@router.get(
    "/v1/jobs/{job_id}/transcript",
    summary="The transcript: json, text, srt, vtt, md",
    response_model=TranscriptBody,
    responses={200: {"content": _WRITTEN, "headers": REVISION_HEADER}, **error_answers(404, 409)},
)
async def job_transcript(
    job_id: JobId,
    caller: JobReader,
    services: ServicesOf,
    response: Response,
    form: Annotated[Literal["json", "text", "srt", "vtt", "md"], Query(alias="format")] = "json",
    revision: Annotated[int | None, Query(ge=1, le=MOST_REVISIONS, description="An older one.")] = None,
) -> TranscriptBody | Response:
    """Give the best transcript there is: corrected, else with speakers once they are attributed. 409 before."""
    _job, found = await read_transcript(services.jobs, services.artifacts, caller.tenant, job_id, revision=revision)
    if found is None:
        raise Conflict("this job has no transcript yet")
    headers = {"etag": etag_of(found)}
    if form == "json":
        response.headers.update(headers)
        return transcript_body(found.transcript)
    return Response(write_transcript(found.transcript, form), media_type=MEDIA_TYPES[form], headers=headers)
