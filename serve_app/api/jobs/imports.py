"""A transcript of another system becomes a job like one of its own: read, indexed, summarized, and never lost."""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from pipelines.domain.audio import Recording
from pipelines.domain.encoding import to_json
from pipelines.domain.job import JobRequest, NewJob, Upload
from pipelines.domain.model import AsrInfo
from pipelines.domain.transcript import TranscriptionReport
from pipelines.errors import InvalidRequest, NotAvailable
from pipelines.exchange.reading import UNKNOWN_LANGUAGE, ReadTranscript, read_transcript_file
from pipelines.jobs.features import FEATURES
from pipelines.jobs.stages import Prepared, Transcribed
from pipelines.jobs.submit import hash_submission, new_job_id
from serve_app.api.edge.authentication import JobWriter
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.forms import Form, FormShape
from serve_app.api.edge.requests import ServicesOf
from serve_app.api.edge.uploads import display_name, scratch_folder, take_upload
from serve_app.api.jobs.fields import LISTS, IdempotencyKey, parse_job_fields
from serve_app.api.jobs.shapes import JobBody, job_body
from serve_app.api.jobs.submission import ACCEPTED, acknowledge_made
from serve_app.services import Services

router = APIRouter(tags=["jobs"])
MAX_TRANSCRIPT_BYTES = 32_000_000
_OF_SOUND = frozenset({"diarization", "word_timestamps", "enhancement_metrics"})
"""What only a recording that is listened to can give."""
_FEATURES = tuple(name for name in FEATURES if name not in _OF_SOUND)
_SHAPE = FormShape(needed=False, long_fields={"transcript": MAX_TRANSCRIPT_BYTES}, text_files=frozenset({"transcript"}))


class ImportFields(BaseModel):
    """A transcript, and what is to become of it; the fields are those of `POST /v1/jobs`."""

    features: list[str] = Field(default=["raw_transcript"], description=f"Of {', '.join(_FEATURES)}.")
    collection: str | None = Field(default=None, description="Required with `index`.")
    language: str | None = Field(default=None, description="ISO 639; left out: what the transcript says.")
    template_id: str | None = None
    priority: str = "normal"
    labels: list[str] = []
    target_language: str | None = None
    enhance: str = "auto"
    metadata: str | None = Field(default=None, description="A JSON object of strings.")


def _form() -> dict[str, Any]:
    schema = ImportFields.model_json_schema()
    schema["properties"] = {
        "transcript": {
            "type": "string",
            "description": "SubRip, WebVTT, JSON of this API or of OpenAI's (`verbose_json`, `diarized_json`), SegLST.",
        },
        "file": {"type": "string", "format": "binary", "description": "Its recording; may be left out."},
        **schema["properties"],
    }
    schema["required"] = ["transcript"]
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


@router.post(
    "/v1/transcripts",
    status_code=202,
    summary="Take a transcript of another system",
    responses={**ACCEPTED, **error_answers(408, 409, 415)},
    openapi_extra={"requestBody": _form()},
)
async def import_transcript(
    request: Request,
    response: Response,
    caller: JobWriter,
    services: ServicesOf,
    idempotency_key: IdempotencyKey,
) -> JobBody:
    """Acknowledge a job whose transcript is there already; without a recording, it has no sound to play."""
    job_id = new_job_id(caller.tenant, idempotency_key)
    folder = f"{caller.tenant}/{job_id}/upload-{secrets.token_hex(8)}"
    async with scratch_folder(services.artifacts, folder) as scratch:
        form = await take_upload(request, services, folder, _check_field, shape=_SHAPE)
        read, asked = await asyncio.to_thread(_read, form), _asked(form.values)
        if asked.language is not None:
            read = replace(read, transcript=replace(read.transcript, language=asked.language))
        new = _new_job(caller.tenant, job_id, asked, _upload(form, folder), form.values["transcript"][0])
        records = await _records(services, new, read, has_sound=bool(form.files))
        job = await acknowledge_made(services, new, scratch, records)
    response.headers["location"] = f"/v1/jobs/{job.job_id}"
    return job_body(job)


def _check_field(name: str, seen: int) -> None:
    if name != "transcript" and name not in ImportFields.model_fields:
        raise InvalidRequest("there is no such field", name)
    if seen and name not in LISTS:
        raise InvalidRequest(f"{name} is given more than once", name)


def _read(form: Form[Upload]) -> ReadTranscript:
    if "transcript" not in form.values:
        raise InvalidRequest("give a transcript", "transcript")
    return read_transcript_file(form.values["transcript"][0])


def _asked(values: Mapping[str, Sequence[str]]) -> JobRequest:
    asked = parse_job_fields({name: texts for name, texts in values.items() if name != "transcript"})
    if heard := sorted(_OF_SOUND & set(asked.features)):
        raise NotAvailable(f"{', '.join(heard)} would need listening: the transcript is taken as it is", "features")
    return asked


def _upload(form: Form[Upload], folder: str) -> Upload:
    """Return what was received; without a recording, nothing is where one would be."""
    if form.files:
        return form.file
    data = form.values["transcript"][0].encode()
    name = display_name(form.filenames.get("transcript") or "transcript")
    return Upload(
        filename=name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), artifact=f"{folder}/no-recording"
    )


def _new_job(tenant: str, job_id: str, asked: JobRequest, upload: Upload, transcript: str) -> NewJob:
    same = f"{hash_submission(asked, upload)}\n{hashlib.sha256(transcript.encode()).hexdigest()}"
    return NewJob(
        job_id=job_id,
        tenant=tenant,
        request=asked,
        upload=upload,
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        body_hash=hashlib.sha256(same.encode()).hexdigest(),
    )


async def _records(services: Services, job: NewJob, read: ReadTranscript, *, has_sound: bool) -> dict[str, bytes]:
    """Return the records of the stages that need not run."""
    transcript, upload = read.transcript, job.upload
    if has_sound:
        recording = await services.reader.probe(upload)
    else:
        recording = Recording(
            filename=upload.filename,
            sha256=upload.sha256,
            bytes=upload.bytes,
            duration_s=transcript.duration_s,
            container=PurePath(upload.filename).suffix.lstrip(".").lower() or read.form,
            codec="none",
            channels=0,
            sample_rate_hz=0,
        )
    report = TranscriptionReport(
        transcript=transcript,
        speech_s=sum(segment.end_s - segment.start_s for segment in transcript.segments),
        windows=0,
        redecoded_windows=0,
    )
    model = AsrInfo(
        backend="imported",
        name=read.form,
        languages=() if transcript.language == UNKNOWN_LANGUAGE else (transcript.language,),
    )
    records = {"prepare": Prepared(recording=recording), "transcribe": Transcribed(report=report, model=model)}
    return {f"{stage}.json": to_json(record) for stage, record in records.items()}
