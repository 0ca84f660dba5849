"""A job's transcript, as data or as a file that people and players read."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from pipelines.errors import Conflict
from pipelines.jobs.result import read_transcript
from pipelines.recognition.formats import write_transcript
from serve_app.api.edge.authentication import JobReader
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import ServicesOf
from serve_app.api.edge.shapes import TranscriptBody, transcript_body
from serve_app.api.jobs.fields import JobId

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
    responses={200: {"content": _WRITTEN}, **error_answers(404, 409)},
)
async def job_transcript(
    job_id: JobId,
    caller: JobReader,
    services: ServicesOf,
    form: Annotated[Literal["json", "text", "srt", "vtt", "md"], Query(alias="format")] = "json",
) -> TranscriptBody | Response:
    """Give the best transcript there is: with speakers once they are attributed. 409 while there is none."""
    _job, transcript = await read_transcript(services.jobs, services.artifacts, caller.tenant, job_id)
    if transcript is None:
        raise Conflict("this job has no transcript yet")
    if form == "json":
        return transcript_body(transcript)
    return Response(write_transcript(transcript, form), media_type=MEDIA_TYPES[form])
