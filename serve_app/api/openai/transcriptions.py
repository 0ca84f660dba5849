"""Transcriptions and translations while the client waits, as OpenAI has them."""

import asyncio
import base64
import math
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from pipelines.audio.channels import choose_channels
from pipelines.domain.audio import ChannelChoice, Window, WindowingOptions
from pipelines.domain.job import Upload
from pipelines.domain.model import AsrInfo
from pipelines.domain.speakers import Diarization
from pipelines.domain.transcript import Segment, Task, TranscriptionReport, WindowTranscript
from pipelines.domain.writing import space_between
from pipelines.errors import InvalidRequest, NotAvailable, NotFound, TooLarge, UnsupportedMedia
from pipelines.recognition.formats import write_transcript
from pipelines.recognition.transcribe import transcribe_channels
from pipelines.speakers.diarize import diarize_recording
from pipelines.speakers.references import diarize_with_references
from serve_app.api.edge.authentication import InferenceCaller
from serve_app.api.edge.documentation import error_answers, form_body
from serve_app.api.edge.requests import ServicesOf, while_connected
from serve_app.api.edge.streaming import EventStreamResponse, ServerSentEvent, started
from serve_app.api.edge.uploads import scratch_folder, take_upload
from serve_app.api.jobs.transcripts import MEDIA_TYPES
from serve_app.api.openai.transcription_fields import (
    FORM_SHAPE,
    TranscriptionFields,
    check_field_name,
    parse_transcription_fields,
)
from serve_app.api.openai.transcription_shapes import (
    DiarizedTranscriptionBody,
    TranscriptionBody,
    VerboseTranscriptionBody,
    diarized_body,
    logprobs_of,
    plain_body,
    verbose_body,
)
from serve_app.options import windowing_options
from serve_app.services import Services

_REFERENCES = "known_speaker_references"
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
    choice: ChannelChoice
    """Which channels are heard."""
    references: Mapping[str, str]
    """Known speakers: name → the artifact with a sample of the voice."""

    async def run(self, on_window: OnWindow | None = None) -> Transcribed:
        """Transcribe, and diarize at the same time where speakers are asked for."""
        windows: list[WindowTranscript] = []

        async def remember(window: WindowTranscript) -> None:
            windows.append(window)
            if on_window is not None:
                await on_window(window)

        async with asyncio.TaskGroup() as group:
            transcribing = group.create_task(self._transcribe(remember))
            diarizing = group.create_task(self._diarize()) if self._must_diarize else None
        return Transcribed(
            report=transcribing.result(),
            windows=tuple(windows),
            diarization=diarizing.result() if diarizing else None,
        )

    @property
    def _must_diarize(self) -> bool:
        return self.fields.wants_speakers and not self.choice.is_split

    async def _transcribe(self, on_window: OnWindow) -> TranscriptionReport:
        limits = self.services.settings.limits
        usual = windowing_options(self.services.settings, max_duration_s=limits.request_audio_s)
        windowing = self.fields.to_windowing(usual)
        return await transcribe_channels(
            self.services.reader,
            self.services.transcriber,
            self.artifact,
            self.fields.to_options(self.task, await self._language(windowing)),
            windowing,
            choice=self.choice,
            on_window=on_window,
            min_duration_s=limits.minimum_request_s,
        )

    async def _language(self, windowing: WindowingOptions) -> str | None:
        """Return the language to transcribe in, of those that may be spoken; None: whatever is heard."""
        possible = self.fields.languages
        if len(possible) < 2:
            return self.fields.language or next(iter(possible), None)
        async with aclosing(self.services.reader.windows(self.artifact, windowing)) as items:
            async for item in items:
                if isinstance(item, Window):
                    heard = (await self.services.transcriber.detect_language(item)).language
                    return heard if heard in possible else possible[0]
        return possible[0]

    async def _diarize(self) -> Diarization:
        reader, diarizer = self.services.reader, self.services.diarizer
        limit_s = self.services.settings.limits.request_audio_s
        if not self.references:
            return await diarize_recording(reader, diarizer, self.artifact, max_duration_s=limit_s)
        return await diarize_with_references(reader, diarizer, self.artifact, self.references, max_duration_s=limit_s)


async def run_alone(work: TranscriptionWork, on_window: OnWindow | None = None) -> Transcribed:
    """Run it; the first failure is raised as itself, not in a group."""
    try:
        return await work.run(on_window)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def streamed(work: TranscriptionWork, resources: AsyncExitStack) -> AsyncGenerator[ServerSentEvent, None]:
    """Yield OpenAI's events, and close ``resources`` at the end.

    A delta for each window; where speakers are asked for, a segment for each stretch of one speaker, once all have been
    told apart; the whole text; ``[DONE]``.
    """
    async with resources:
        windows: asyncio.Queue[WindowTranscript | None] = asyncio.Queue()
        working = asyncio.create_task(run_alone(work, windows.put))
        working.add_done_callback(lambda _: windows.put_nowait(None))
        try:
            written = ""
            while (window := await windows.get()) is not None:
                if window.text:
                    delta = space_between(written, window.text) + window.text
                    written = window.text
                    found = {"logprobs": _plain_logprobs(window.segments)} if work.fields.include else {}
                    yield ServerSentEvent(data={"type": "transcript.text.delta", "delta": delta, **found})
            done = await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
    if work.fields.wants_speakers:
        for segment in diarized_body(done.report, done.diarization, work.references).segments:
            yield ServerSentEvent(data=segment.model_dump())
    body = plain_body(done.report, logprobs=bool(work.fields.include), languages=bool(work.fields.languages))
    told = body.model_dump(exclude_none=True, exclude={"usage"})
    yield ServerSentEvent(data={"type": "transcript.text.done", **told})
    yield ServerSentEvent(data="[DONE]")


def _plain_logprobs(segments: Iterable[Segment]) -> list[dict[str, object]]:
    return [entry.model_dump() for entry in logprobs_of(segments)]


router = APIRouter(tags=["openai"])
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
        if work.fields.streams:
            events = streamed(work, resources.pop_all())
            return EventStreamResponse(await while_connected(request, started(events)))
        return _encode(await while_connected(request, run_alone(work)), work)


async def _receive(request: Request, services: Services, folder: str, task: Task) -> TranscriptionWork:
    form = await take_upload(request, services, folder, check_field_name, shape=FORM_SHAPE)
    return await prepare_work(services, form.file, parse_transcription_fields(form.values), task)


async def prepare_work(
    services: Services, upload: Upload, fields: TranscriptionFields, task: Task
) -> TranscriptionWork:
    """Check a spooled recording and what is asked of it, and put known voices beside it.

    Raises InvalidRequest, NotFound, NotAvailable, TooLarge, UnsupportedMedia.
    """
    fields.check_limits(services.settings.openai.keywords)
    check_model(fields, await services.transcriber.info(), services.settings.openai.aliases)
    recording = await services.reader.probe(upload)
    _check_length(services, recording.duration_s)
    folder = upload.artifact.rpartition("/")[0]
    references = {
        name: await _keep_reference(services, f"{folder}/reference-{place}", url)
        for place, (name, url) in enumerate(
            zip(fields.known_speaker_names, fields.known_speaker_references, strict=True)
        )
    }
    # Samples of voices are compared by a diarizer, which hears the mix.
    mode = "mix" if references and fields.channels == "auto" else fields.channels
    report = None
    if recording.channels == 2 and mode != "mix":
        limit_s = services.settings.limits.request_audio_s
        report = await services.reader.channels(upload.artifact, max_duration_s=limit_s)
    choice = choose_channels(mode, recording.channels, report)
    return TranscriptionWork(
        services=services, artifact=upload.artifact, fields=fields, task=task, choice=choice, references=references
    )


_SHORTEST_REFERENCE_S, _LONGEST_REFERENCE_S = 2.0, 10.0


async def _keep_reference(services: Services, artifact: str, url: str) -> str:
    """Write the sample of a data URL (RFC 2397) as an artifact, and return its key. Raises InvalidRequest."""
    head, comma, encoded = url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64") or not comma:
        raise InvalidRequest("a sample is a data URL: data:audio/wav;base64,…", _REFERENCES)
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise InvalidRequest("a sample is not base64", _REFERENCES) from None
    await services.artifacts.write(artifact, data)
    sample = Upload(filename="reference", sha256="", bytes=len(data), artifact=artifact)
    try:
        duration_s = (await services.reader.probe(sample)).duration_s
    except UnsupportedMedia as error:
        raise InvalidRequest(f"a sample is no recording: {error.message}", _REFERENCES) from error
    if duration_s is not None and not _SHORTEST_REFERENCE_S <= duration_s <= _LONGEST_REFERENCE_S:
        raise InvalidRequest("a sample lasts 2 to 10 seconds", _REFERENCES)
    return artifact


def _encode(done: Transcribed, work: TranscriptionWork) -> ResultBody | Response:
    form, transcript = work.fields.response_format, done.report.transcript
    if form == "json":
        fields = work.fields
        return plain_body(done.report, logprobs=bool(fields.include), languages=bool(fields.languages))
    if form == "verbose_json":
        return verbose_body(done.report, done.windows, work.fields.timestamp_granularities, work.task)
    if form == "diarized_json":
        return diarized_body(done.report, done.diarization, work.references)
    if form == "text":
        return Response(f"{transcript.text}\n", media_type=MEDIA_TYPES["text"])
    return Response(write_transcript(transcript, form), media_type=MEDIA_TYPES[form])


def check_model(fields: TranscriptionFields, loaded: AsrInfo, aliases: Mapping[str, str | None]) -> None:
    """Raise NotFound for a model that is not loaded, NotAvailable for word times that it cannot give."""
    if fields.model not in (loaded.name, loaded.backend) and aliases.get(fields.model) != "asr":
        raise NotFound("there is no such model: GET /v1/models lists what is loaded", "model")
    needs_words = "include" if fields.include else "timestamp_granularities"
    if ("word" in fields.timestamp_granularities or fields.include) and "word_timestamps" not in loaded.capabilities:
        raise NotAvailable("the loaded model does not tell words apart", needs_words)


def _check_length(services: Services, duration_s: float | None) -> None:
    limit_s = services.settings.limits.request_audio_s
    if duration_s is not None and duration_s > limit_s:
        minutes = math.floor(limit_s / 60)
        raise TooLarge(f"a request takes at most {minutes} minutes of audio: submit a job instead", "file")
