"""Transcriptions and translations while the client waits, as OpenAI has them."""

import asyncio
import math
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from pipelines.domain.job import Upload
from pipelines.domain.model import AsrInfo
from pipelines.domain.speakers import Diarization
from pipelines.domain.transcript import Task, TranscriptionReport, WindowTranscript
from pipelines.errors import NotAvailable, NotFound, TooLarge
from pipelines.recognition.formats import write_transcript
from pipelines.recognition.transcribe import transcribe_recording
from pipelines.speakers.diarize import diarize_recording
from serve_app.api.edge.authentication import InferenceCaller
from serve_app.api.edge.documentation import error_answers, form_body
from serve_app.api.edge.requests import ServicesOf, while_connected
from serve_app.api.edge.streaming import EventStreamResponse, ServerSentEvent, started
from serve_app.api.edge.uploads import scratch_folder, take_upload
from serve_app.api.jobs.transcripts import MEDIA_TYPES
from serve_app.api.openai.transcription_fields import TranscriptionFields, check_field_name, parse_transcription_fields
from serve_app.api.openai.transcription_shapes import (
    DiarizedTranscriptionBody,
    TranscriptionBody,
    VerboseTranscriptionBody,
    diarized_body,
    plain_body,
    verbose_body,
)
from serve_app.options import windowing_options
from serve_app.services import Services

OnWindow = Callable[[WindowTranscript], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcribed:
    """What came of it."""

    report: TranscriptionReport
    windows: tuple[WindowTranscript, ...]
    diarization: Diarization | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionWork:
    """What is to be done with a spooled recording."""

    services: Services
    artifact: str
    fields: TranscriptionFields
    task: Task

    async def run(self, on_window: OnWindow | None = None) -> Transcribed:
        """Transcribe, and diarize at the same time where speakers are asked for."""
        windows: list[WindowTranscript] = []

        async def remember(window: WindowTranscript) -> None:
            windows.append(window)
            if on_window is not None:
                await on_window(window)

        async with asyncio.TaskGroup() as group:
            transcribing = group.create_task(self._transcribe(remember))
            diarizing = group.create_task(self._diarize()) if self.fields.wants_speakers else None
        return Transcribed(
            report=transcribing.result(),
            windows=tuple(windows),
            diarization=diarizing.result() if diarizing else None,
        )

    async def _transcribe(self, on_window: OnWindow) -> TranscriptionReport:
        limits = self.services.settings.limits
        return await transcribe_recording(
            self.services.reader,
            self.services.transcriber,
            self.artifact,
            self.fields.to_options(self.task),
            windowing_options(self.services.settings, max_duration_s=limits.request_audio_s),
            on_window=on_window,
            min_duration_s=limits.minimum_request_s,
        )

    async def _diarize(self) -> Diarization:
        limit_s = self.services.settings.limits.request_audio_s
        return await diarize_recording(
            self.services.reader, self.services.diarizer, self.artifact, max_duration_s=limit_s
        )


async def run_alone(work: TranscriptionWork, on_window: OnWindow | None = None) -> Transcribed:
    """Run it; the first failure is raised as itself, not in a group."""
    try:
        return await work.run(on_window)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def streamed(work: TranscriptionWork, resources: AsyncExitStack) -> AsyncGenerator[ServerSentEvent, None]:
    """Yield OpenAI's events: a delta for each window, the whole text, ``[DONE]``. Closes ``resources`` at the end."""
    async with resources:
        windows: asyncio.Queue[WindowTranscript | None] = asyncio.Queue()
        working = asyncio.create_task(run_alone(work, windows.put))
        working.add_done_callback(lambda _: windows.put_nowait(None))
        try:
            written = False
            while (window := await windows.get()) is not None:
                if window.text:
                    delta = f" {window.text}" if written else window.text
                    written = True
                    yield ServerSentEvent(data={"type": "transcript.text.delta", "delta": delta})
            done = await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
    yield ServerSentEvent(data={"type": "transcript.text.done", "text": done.report.transcript.text})
    yield ServerSentEvent(data="[DONE]")


router = APIRouter(tags=["openai"])
ANY_MODEL = "whisper-1"
"""What OpenAI's clients ask for when they have been told nothing else: the model that is loaded."""
_FORM = form_body(TranscriptionFields, "The recording, at most half an hour; longer ones are jobs.")
_WRITTEN = (*MEDIA_TYPES.values(), "text/event-stream")
_TEXTS = {media_type.split(";")[0]: {"schema": {"type": "string"}} for media_type in _WRITTEN}
_RESPONSES = {200: {"content": _TEXTS}, **error_answers(404, 408, 415)}
ResultBody = TranscriptionBody | VerboseTranscriptionBody | DiarizedTranscriptionBody


@router.post(
    "/v1/audio/transcriptions",
    summary="Transcribe a recording at once",
    response_model=ResultBody,
    responses=_RESPONSES,
    openapi_extra={"requestBody": _FORM},
)
async def transcriptions(request: Request, caller: InferenceCaller, services: ServicesOf) -> ResultBody | Response:
    """Answer with the text when the whole recording has been transcribed; the upload is gone afterwards."""
    return await _answer(request, services, caller.tenant, "transcribe")


@router.post(
    "/v1/audio/translations",
    summary="Translate a recording into English at once",
    response_model=ResultBody,
    responses=_RESPONSES,
    openapi_extra={"requestBody": _FORM},
)
async def translations(request: Request, caller: InferenceCaller, services: ServicesOf) -> ResultBody | Response:
    """As transcriptions, where the model can translate."""
    if "translation" not in (await services.transcriber.info()).capabilities:
        raise NotAvailable("the loaded speech model does not translate", "model")
    return await _answer(request, services, caller.tenant, "translate")


async def _answer(request: Request, services: Services, tenant: str, task: Task) -> ResultBody | Response:
    folder = f"{tenant}/requests/{uuid.uuid4()}"
    async with AsyncExitStack() as resources:
        await resources.enter_async_context(scratch_folder(services.artifacts, folder))
        work = await _receive(request, services, folder, task)
        if work.fields.stream:
            events = streamed(work, resources.pop_all())
            return EventStreamResponse(await while_connected(request, started(events)))
        return _encode(await while_connected(request, run_alone(work)), work)


async def _receive(request: Request, services: Services, folder: str, task: Task) -> TranscriptionWork:
    form = await take_upload(request, services, folder, check_field_name)
    return await prepare_work(services, form.file, parse_transcription_fields(form.values), task)


async def prepare_work(
    services: Services, upload: Upload, fields: TranscriptionFields, task: Task
) -> TranscriptionWork:
    """Check a spooled recording and what is asked of it. Raises NotFound, NotAvailable, TooLarge, UnsupportedMedia."""
    check_model(fields, await services.transcriber.info())
    recording = await services.reader.probe(upload)
    _check_length(services, recording.duration_s)
    return TranscriptionWork(services=services, artifact=upload.artifact, fields=fields, task=task)


def _encode(done: Transcribed, work: TranscriptionWork) -> ResultBody | Response:
    form, transcript = work.fields.response_format, done.report.transcript
    if form == "json":
        return plain_body(done.report)
    if form == "verbose_json":
        return verbose_body(done.report, done.windows, work.fields.timestamp_granularities, work.task)
    if form == "diarized_json":
        return diarized_body(done.report, done.diarization)
    if form == "text":
        return Response(f"{transcript.text}\n", media_type=MEDIA_TYPES["text"])
    return Response(write_transcript(transcript, form), media_type=MEDIA_TYPES[form])


def check_model(fields: TranscriptionFields, loaded: AsrInfo) -> None:
    """Raise NotFound for a model that is not loaded, NotAvailable for word times that it cannot give."""
    if fields.model not in (ANY_MODEL, loaded.name, loaded.backend):
        raise NotFound("there is no such model: GET /v1/models lists what is loaded", "model")
    if "word" in fields.timestamp_granularities and "word_timestamps" not in loaded.capabilities:
        raise NotAvailable("the loaded model gives no word timestamps", "timestamp_granularities")


def _check_length(services: Services, duration_s: float | None) -> None:
    limit_s = services.settings.limits.request_audio_s
    if duration_s is not None and duration_s > limit_s:
        minutes = math.floor(limit_s / 60)
        raise TooLarge(f"a request takes at most {minutes} minutes of audio: submit a job instead", "file")
