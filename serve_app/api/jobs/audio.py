"""A recording over HTTP: with ranges, so that a player can seek to a citation."""

import hashlib
from pathlib import PurePath
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from pipelines.domain.audio import Waveform
from pipelines.domain.job import Upload
from pipelines.errors import NotFound
from pipelines.jobs.artifacts import artifact_key, made_once
from pipelines.jobs.result import require_recording
from pipelines.ports.artifacts import ArtifactStore
from serve_app.api.edge.authentication import JobReader
from serve_app.api.edge.byte_ranges import ByteRange, Unsatisfiable, parse_range
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.errors import error_response
from serve_app.api.edge.requests import ServicesOf
from serve_app.api.edge.streaming import SourceResponse, started
from serve_app.api.jobs.fields import JobId

router = APIRouter(tags=["jobs"])
_MEDIA_TYPES = {
    ".wav": "audio/wav", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".mp4": "video/mp4", ".aac": "audio/aac",
    ".flac": "audio/flac", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg", ".webm": "audio/webm",
    ".mkv": "video/x-matroska", ".mov": "video/quicktime", ".amr": "audio/amr", ".wma": "audio/x-ms-wma",
}  # fmt: skip
"""A fixed list: the client chose the name, and must not choose a type that a browser would run."""
_BINARY = {"content": {"audio/*": {"schema": {"type": "string", "format": "binary"}}}}


@router.get(
    "/v1/jobs/{job_id}/audio",
    summary="The recording itself, with ranges",
    response_class=Response,
    responses={
        200: {"description": "The whole recording.", **_BINARY},
        206: {"description": "The bytes asked for.", **_BINARY},
        304: {"description": "Unchanged (If-None-Match)."},
        **error_answers(404, 416),
    },
)
async def job_audio(
    request: Request,
    job_id: JobId,
    caller: JobReader,
    services: ServicesOf,
    byte_range: Annotated[str | None, Header(alias="Range", description="One range of bytes.")] = None,
    if_range: Annotated[str | None, Header(description="The ETag that the range belongs to.")] = None,
    if_none_match: Annotated[str | None, Header(description="ETags that the client holds.")] = None,
) -> Response:
    """Stream a job's recording; the ETag is its SHA-256."""
    job = await services.jobs.get(caller.tenant, job_id)
    require_recording(job)
    upload = job.upload
    size = await services.artifacts.size(upload.artifact)
    if size is None:
        raise NotFound("the recording of this job is gone", "job_id")
    headers = _headers(upload)
    if _matches(if_none_match, headers["etag"]):
        return Response(status_code=304, headers=headers)
    wanted = byte_range if if_range in (None, headers["etag"]) else None
    try:
        part = parse_range(wanted, size)
    except Unsatisfiable as error:
        refusal = error_response(error)
        refusal.headers["content-range"] = f"bytes */{size}"
        return refusal
    return await _stream(services.artifacts, upload.artifact, part, size, headers)


class WaveformBody(BaseModel):
    """How loud a recording is over its length."""

    duration_s: float
    peaks: list[int] = Field(description="Largest absolute sample of equally long stretches, in percent of full scale.")


@router.get("/v1/jobs/{job_id}/waveform", summary="Peaks for a player", responses=error_answers(404))
async def job_waveform(job_id: JobId, caller: JobReader, services: ServicesOf, response: Response) -> WaveformBody:
    """Give at most 8,192 peaks, whatever the length; they are measured when they are first asked for."""
    job = await services.jobs.get(caller.tenant, job_id)
    require_recording(job)
    if await services.artifacts.size(job.upload.artifact) is None:
        raise NotFound("the recording of this job is gone", "job_id")
    limit_s = services.settings.limits.recording_hours * 3600
    waveform = await made_once(
        services.artifacts,
        artifact_key(caller.tenant, job_id, "waveform"),
        Waveform,
        lambda: services.reader.waveform(job.upload.artifact, max_duration_s=limit_s),
    )
    response.headers["cache-control"] = "private, max-age=3600"
    return WaveformBody(duration_s=waveform.duration_s, peaks=list(waveform.peaks))


async def _stream(
    artifacts: ArtifactStore, artifact: str, part: ByteRange | None, size: int, headers: dict[str, str]
) -> Response:
    sent = part or ByteRange(start=0, end=size, size=size)
    headers["content-length"] = str(sent.end - sent.start)
    if part is not None:
        headers["content-range"] = part.content_range
    content = await started(artifacts.read_range(artifact, sent.start, sent.end))
    return SourceResponse(content, content, status_code=206 if part else 200, headers=headers)


def _headers(upload: Upload) -> dict[str, str]:
    return {
        "content-type": _MEDIA_TYPES.get(PurePath(upload.filename).suffix.lower(), "application/octet-stream"),
        "content-disposition": f"inline; filename*=UTF-8''{quote(upload.filename, safe='')}",
        # What was fetched has no hash in the job; the file under this key never changes either.
        "etag": f'"{upload.sha256 or hashlib.sha256(upload.artifact.encode()).hexdigest()}"',
        "accept-ranges": "bytes",
        "cache-control": "private, no-transform",
        "x-content-type-options": "nosniff",
    }


def _matches(if_none_match: str | None, etag: str) -> bool:
    held = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in held or "*" in held
