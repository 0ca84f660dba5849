"""One synchronous transcription: all at once, or window by window as it goes."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pipelines.domain.transcript import Diarization, Task, TranscriptionReport, WindowTranscript
from pipelines.flows.diarize_recording import diarize_recording
from pipelines.flows.transcribe_recording import transcribe_recording
from serve_app.api.processing import windowing_options
from serve_app.api.server_sent_events import ServerSentEvent
from serve_app.api.transcription_fields import TranscriptionFields
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
