"""A stored recording to a transcript: windows are decoded by the model while the recording is still being read.

reader ─▶ first windows ─▶ language, once ─▶ windows in flight (bounded) ─▶ in order ─▶ waves ─▶ stitched
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

from pipelines.domain.audio import (
    AudioExtent,
    AudioSource,
    AudioWarning,
    ChannelChoice,
    TimeSpan,
    Window,
    WindowingOptions,
    source_of,
)
from pipelines.domain.encoding import from_json, to_json
from pipelines.domain.model import AsrInfo
from pipelines.domain.transcript import (
    DroppedSpan,
    TranscriptionOptions,
    TranscriptionReport,
    WindowTranscript,
    language_name,
)
from pipelines.errors import ArtifactNotFound, AudioTooShort
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.audio import RecordingReader
from pipelines.ports.models import CallModel, Transcriber, call_at_once
from pipelines.recognition.judge import find_dropped_speech
from pipelines.recognition.stitch import mean_confidence, merge_channels, stitch_segments

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_MOST_UNYIELDED = 4
_END = object()


async def run_in_order(
    items: AsyncIterable[ItemT], work: Callable[[ItemT], Awaitable[ResultT]], *, at_once: int
) -> AsyncGenerator[ResultT, None]:
    """Yield ``work``'s results in the order of ``items``, with at most ``at_once`` of them under way.

    The next item is read only when there is room for it, so that its producer is held back. The first failure ends
    everything and is raised, also while the producer is at its next item; closing the generator cancels what is under
    way and waits for it.
    """
    iterator = aiter(items)
    reading: asyncio.Future[object] | None = None
    running: deque[asyncio.Task[ResultT]] = deque()
    ended = False
    try:
        while running or not ended:
            if reading is None and not ended and not _is_full(running, at_once):
                reading = asyncio.ensure_future(anext(iterator, _END))
            under_way: list[asyncio.Future[Any]] = [task for task in running if not task.done()]
            under_way += [reading] if reading else []
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
            if reading in done:
                item, reading = reading.result(), None
                if item is _END:
                    ended = True
                else:
                    running.append(asyncio.ensure_future(_as_coroutine(work, cast(ItemT, item))))
            while running and running[0].done():
                yield running.popleft().result()
    finally:
        left: list[asyncio.Future[Any]] = [*running, *([reading] if reading else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _as_coroutine(work: Callable[[ItemT], Awaitable[ResultT]], item: ItemT) -> ResultT:
    return await work(item)


def _is_full(running: "deque[asyncio.Task[ResultT]]", at_once: int) -> bool:
    """Results that wait for a slow one before them take little room, but not without end."""
    return sum(not task.done() for task in running) >= at_once or len(running) >= _MOST_UNYIELDED * at_once


WAVE_WINDOWS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedWindow:
    """What was decoded, and the speech that was heard there."""

    transcript: WindowTranscript
    speech: tuple[TimeSpan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Up to sixteen windows in a row, one artifact: ``{prefix}/wave-0007.json`` holds windows 112 to 127.

    It is written anew with each window that it takes, so that a window is stored before anybody hears of it.
    """

    windows: tuple[FinishedWindow, ...]


class TranscriptionWaves:
    """All finished windows of one recording, in order, each of them written."""

    def __init__(self, artifacts: ArtifactStore | None, prefix: str) -> None:
        self._artifacts = artifacts
        self._prefix = prefix
        self.windows: list[FinishedWindow] = []

    async def load(self) -> Sequence[FinishedWindow]:
        """Read the waves of an earlier run, up to the first that is missing or not full, and return their windows."""
        while self._artifacts is not None and len(self.windows) % WAVE_WINDOWS == 0:
            try:
                data = await self._artifacts.read(wave_key(self._prefix, len(self.windows)))
            except ArtifactNotFound:
                break
            self.windows.extend((await asyncio.to_thread(from_json, Wave, data)).windows)
        return tuple(self.windows)

    async def add(self, window: FinishedWindow) -> None:
        """Take the next window, and write its wave as far as it goes."""
        index = len(self.windows)
        self.windows.append(window)
        if self._artifacts is not None:
            wave = Wave(windows=tuple(self.windows[index - index % WAVE_WINDOWS :]))
            await self._artifacts.write(wave_key(self._prefix, index), await asyncio.to_thread(to_json, wave))


def wave_key(prefix: str, index: int) -> str:
    """Return the key of the wave that holds the window of this index."""
    return f"{prefix}/wave-{index // WAVE_WINDOWS:04d}.json"


LANGUAGE_WINDOWS = 3
"""The language is heard in this many windows from the start, and holds for the whole recording: those of them that
sounded otherwise are decoded again."""
SHORT_WINDOW_S, SHORT_PAUSE_MS = 15.0, 200
"""Short windows need more places to be cut at: shorter pauses then end a stretch of speech, with less padding. Measured
on the demo recordings and model, windows of 8 s: 19, 21 and 53 % word errors instead of 23, 29 and 69 %."""
DEFAULT_LANGUAGE = "en"
"""Of a recording in which nobody speaks."""

OnWindow = Callable[[WindowTranscript], Awaitable[None]]


async def transcribe_recording(
    reader: RecordingReader,
    transcriber: Transcriber,
    artifact: str | AudioSource,
    options: TranscriptionOptions,
    windowing: WindowingOptions | None = None,
    *,
    max_in_flight: int | None = None,
    on_window: OnWindow | None = None,
    artifacts: ArtifactStore | None = None,
    prefix: str = "",
    min_duration_s: float = 0.0,
    call_model: CallModel = call_at_once,
) -> TranscriptionReport:
    """Transcribe the artifact; silence gives an empty transcript.

    At most ``max_in_flight`` windows (default: two of the model's batches) are being decoded at once. ``on_window``
    hears of each window in order: with ``artifacts``, after it was kept in a wave under ``prefix``. What an earlier run
    kept is skipped, and only its last window heard of again. Each window goes to the model by ``call_model``.

    Raises AudioTooShort (less audio than ``min_duration_s``, counted), and as RecordingReader.windows and
    Transcriber.transcribe do.
    """
    model = await transcriber.info()
    windowing = _suited(windowing or WindowingOptions(), model)
    run = _Run(reader, transcriber, artifact, options, windowing, TranscriptionWaves(artifacts, prefix), call_model)
    at_once = max_in_flight or 2 * _batch_size(model)
    await run.transcribe(_known_language(options, model), at_once=at_once, on_window=on_window)
    if run.extent.duration_s < min_duration_s:
        raise AudioTooShort(f"the recording must last at least {min_duration_s:g} s", "file")
    return run.report()


class _Run:
    """One recording on its way; holds what is found out as it goes."""

    def __init__(
        self,
        reader: RecordingReader,
        transcriber: Transcriber,
        artifact: str | AudioSource,
        options: TranscriptionOptions,
        windowing: WindowingOptions,
        waves: TranscriptionWaves,
        call_model: CallModel,
    ) -> None:
        self._reader = reader
        self._transcriber = transcriber
        self._artifact = artifact
        self._options = options
        self._windowing = windowing
        self._waves = waves
        self._call_model = call_model
        self._head: dict[int, WindowTranscript] = {}
        """First windows whose text is there already, since language and text come from one encoding."""
        self._listens = False
        """Nobody said which language is spoken: each window may be in another."""
        self.extent = AudioExtent(duration_s=0.0, speech_s=0.0)

    async def transcribe(self, language: str | None, *, at_once: int, on_window: OnWindow | None) -> None:
        """Decode all windows that no earlier run finished."""
        earlier = await self._waves.load()
        if earlier and on_window is not None:  # whoever is killed after keeping a window has told nobody
            await on_window(earlier[-1].transcript)
        self._listens = language is None
        language = language or (
            _voted([window.transcript for window in earlier[:LANGUAGE_WINDOWS]]) if earlier else None
        )
        async with aclosing(self._windows(first_index=len(earlier))) as windows:
            head = [] if language else await _take(windows, LANGUAGE_WINDOWS)
            self._options = replace(self._options, language=language or await self._vote(head))
            async with aclosing(run_in_order(_chain(head, windows), self._decode, at_once=at_once)) as finished:
                async for window in finished:
                    await self._waves.add(window)
                    if on_window is not None:
                        await on_window(window.transcript)

    async def _windows(self, *, first_index: int) -> AsyncGenerator[Window, None]:
        items = self._reader.windows(self._artifact, self._windowing, first_index=first_index)
        async with aclosing(items):
            async for item in items:
                if isinstance(item, Window):
                    yield item
                else:
                    self.extent = item

    async def _vote(self, head: Sequence[Window]) -> str:
        """Decode the first windows in the language of each, and return the one that they vote for by probability."""
        decodings = (self._call_model(partial(self._transcriber.transcribe, window, self._options)) for window in head)
        transcripts = await asyncio.gather(*decodings)
        self._head = {transcript.index: transcript for transcript in transcripts}
        return _voted(transcripts)

    async def _decode(self, window: Window) -> FinishedWindow:
        """Decode in the recording's language, unless it was not said which that is and another is heard for certain."""
        transcript = self._head.pop(window.index, None)
        if transcript is None:
            heard = replace(self._options, language=None) if self._listens else self._options
            transcript = await self._call_model(partial(self._transcriber.transcribe, window, heard))
        if transcript.language != self._options.language and not (self._listens and _is_certain(transcript, window)):
            transcript = await self._call_model(partial(self._transcriber.transcribe, window, self._options))
        channel = source_of(self._artifact).channel
        kept = replace(transcript, read_share=window.read_share, channel=channel)
        return FinishedWindow(transcript=kept, speech=window.speech)

    def report(self) -> TranscriptionReport:
        """Stitch what is there."""
        windows = [finished.transcript for finished in self._waves.windows]
        language = self._options.language or DEFAULT_LANGUAGE
        transcript = stitch_segments(windows, language=language, duration_s=self.extent.duration_s)
        return TranscriptionReport(
            transcript=transcript,
            speech_s=self.extent.speech_s,
            windows=len(windows),
            redecoded_windows=sum(window.redecoded for window in windows),
            dropped_spans=_dropped(self._waves.windows, self._options, self._windowing),
            confidence=mean_confidence(transcript),
            warnings=(*self.extent.warnings, *_other_languages(windows, language)),
            loudness=self.extent.loudness,
        )


async def transcribe_channels(
    reader: RecordingReader,
    transcriber: Transcriber,
    artifact: str,
    options: TranscriptionOptions,
    windowing: WindowingOptions | None = None,
    *,
    choice: ChannelChoice,
    prefix: str = "",
    **others: Any,
) -> TranscriptionReport:
    """Transcribe what was chosen of the channels: their mix, one, or each for itself as a speaker of its own.

    Takes what ``transcribe_recording`` takes, and raises what it does. Windows of a single channel are kept below a
    folder of its own.
    """
    heard = choice.heard or (None,)

    async def hear(channel: int | None) -> TranscriptionReport:
        source = AudioSource(artifact=artifact, channel=channel)
        folder = channel_prefix(prefix, channel)
        return await transcribe_recording(reader, transcriber, source, options, windowing, prefix=folder, **others)

    reports = [await hear(channel) for channel in heard]
    report = merge_channels(reports) if choice.is_split else reports[0]
    return replace(report, warnings=(*choice.warnings, *report.warnings))


def channel_prefix(prefix: str, channel: int | None) -> str:
    """Return the folder in which the windows of a channel are kept; None: of the mix."""
    return prefix if channel is None else f"{prefix}/channel-{channel}"


def _voted(transcripts: Sequence[WindowTranscript]) -> str:
    """Return the language of a recording by its first windows, each with the weight of its own certainty.

    One that was decoded in a language which others had chosen counts for it as one that heard it.
    """
    votes: defaultdict[str, float] = defaultdict(float)
    for transcript in transcripts:
        certainty = transcript.language_probability
        votes[transcript.language] += 1.0 if certainty is None else certainty
    return max(votes, key=votes.__getitem__, default=DEFAULT_LANGUAGE)


_CERTAIN = 0.85
_CERTAIN_SPEECH_S = 3.0
"""So much of another language, heard with such a probability, is another language; a word or two are a name."""


def _is_certain(transcript: WindowTranscript, window: Window) -> bool:
    return (transcript.language_probability or 0.0) >= _CERTAIN and window.speech_s >= _CERTAIN_SPEECH_S


def _other_languages(windows: Sequence[WindowTranscript], language: str) -> Iterator[AudioWarning]:
    others = [window for window in windows if window.language != language and window.segments]
    if others:
        names = sorted({language_name(window.language) for window in others})
        yield AudioWarning(
            code="languages_differ",
            message=f"beside {language_name(language)} there is {' and '.join(names)}: its segments say so",
            start_s=round(others[0].start_s, 3),
            end_s=round(others[-1].end_s, 3),
        )


def _suited(windowing: WindowingOptions, model: AsrInfo) -> WindowingOptions:
    if model.max_window_s is None:
        return windowing
    suited = replace(windowing, max_window_s=min(windowing.max_window_s, model.max_window_s))
    if suited.max_window_s > SHORT_WINDOW_S:
        return suited
    return replace(
        suited,
        min_silence_duration_ms=min(SHORT_PAUSE_MS, windowing.min_silence_duration_ms),
        speech_pad_ms=min(SHORT_PAUSE_MS, windowing.speech_pad_ms),
    )


_USUAL_BATCH = 4
"""Where an engine does not say what one batch takes."""


def _batch_size(model: AsrInfo) -> int:
    return model.batch_size or _USUAL_BATCH


def _known_language(options: TranscriptionOptions, model: AsrInfo) -> str | None:
    return options.language or (model.languages[0] if len(model.languages) == 1 else None)


def _dropped(
    windows: Iterable[FinishedWindow], options: TranscriptionOptions, windowing: WindowingOptions
) -> tuple[DroppedSpan, ...]:
    return tuple(
        span
        for finished in windows
        for span in find_dropped_speech(finished.transcript, finished.speech, options, windowing)
    )


async def _take(windows: AsyncIterator[Window], count: int) -> list[Window]:
    taken: list[Window] = []
    while len(taken) < count and (window := await anext(windows, None)) is not None:
        taken.append(window)
    return taken


async def _chain(head: Iterable[Window], rest: AsyncIterator[Window]) -> AsyncGenerator[Window, None]:
    for window in head:
        yield window
    async for window in rest:
        yield window
