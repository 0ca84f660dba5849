import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from pipelines.audio.decode import PyavDecoder
from pipelines.audio.reader import LocalReader
from pipelines.domain.audio import AudioExtent, AudioSource, Window, WindowingOptions
from pipelines.domain.model import AsrInfo
from pipelines.domain.transcript import LanguageGuess, TranscriptionOptions, WindowTranscript
from pipelines.errors import AudioTooShort, ModelUnavailable
from pipelines.fakes.models import FakeSpeechDetector, FakeTranscriber
from pipelines.fakes.scripted_speech import Utterance, write_wav
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.ports.models import Transcriber
from pipelines.recognition.transcribe import WAVE_WINDOWS, transcribe_recording

KEY = "acme/uploads/recording"
PREFIX = "acme/job/transcribe"
OPTIONS = TranscriptionOptions()


def utterances(count: int) -> list[Utterance]:
    """One every ten seconds, so that each is a window of its own."""
    return [
        Utterance(start_s=10.0 * number + 1, end_s=10.0 * number + 2, text=f"number {number}")
        for number in range(count)
    ]


async def stored(count: int) -> InMemoryArtifactStore:
    store = InMemoryArtifactStore()
    await store.write(KEY, write_wav(utterances(count), duration_s=10.0 * count + 1))
    return store


def reader(store: InMemoryArtifactStore) -> LocalReader:
    return LocalReader(store.open, PyavDecoder(), lambda options: FakeSpeechDetector())


class Polyglot(FakeTranscriber):
    """Guesses as it is told, and remembers what language it was asked to write."""

    def __init__(self, *guesses: tuple[str, float]) -> None:
        super().__init__()
        self.guesses = {index: LanguageGuess(language=name, probability=p) for index, (name, p) in enumerate(guesses)}
        self.asked: list[str | None] = []

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        self.asked.append(options.language)
        transcript = await super().transcribe(window, replace(options, language="en"))
        if options.language is not None:
            return replace(transcript, language=options.language)
        guess = self.guesses[window.index]
        return replace(transcript, language=guess.language, language_probability=guess.probability)

    async def info(self) -> AsrInfo:
        return replace(await super().info(), languages=())


async def test_a_recording_becomes_one_transcript() -> None:
    store, seen = await stored(3), list[WindowTranscript]()

    async def on_window(window: WindowTranscript) -> None:
        seen.append(window)

    report = await transcribe_recording(
        reader(store), FakeTranscriber(), KEY, TranscriptionOptions(word_timestamps=True), on_window=on_window
    )
    assert report.transcript.text == "number 0 number 1 number 2"
    assert [segment.id for segment in report.transcript.segments] == [0, 1, 2]
    assert report.transcript.segments[2].start_s == 21.0
    assert len(report.transcript.segments[2].words) == 2
    assert report.transcript.duration_s == 31.0
    assert report.transcript.language == "en"
    assert (report.windows, report.redecoded_windows, report.dropped_spans) == (3, 0, ())
    assert report.speech_s == pytest.approx(3.0)
    assert report.confidence == pytest.approx(0.9)
    assert [window.index for window in seen] == [0, 1, 2]


async def test_silence_gives_an_empty_transcript() -> None:
    store = InMemoryArtifactStore()
    await store.write(KEY, write_wav([], duration_s=5.0))
    report = await transcribe_recording(reader(store), Polyglot(), KEY, OPTIONS)
    assert report.transcript.segments == ()
    assert (report.windows, report.speech_s, report.confidence) == (0, 0.0, None)
    assert report.transcript.duration_s == 5.0


async def test_too_little_audio_is_refused_by_what_was_decoded() -> None:
    store = InMemoryArtifactStore()
    await store.write(KEY, write_wav([], duration_s=0.5))
    with pytest.raises(AudioTooShort):
        await transcribe_recording(reader(store), FakeTranscriber(), KEY, OPTIONS, min_duration_s=1.0)


async def test_the_first_windows_vote_on_the_language_once() -> None:
    transcriber = Polyglot(("de", 0.5), ("fr", 0.9), ("de", 0.6), ("de", 0.9), ("nl", 0.8))
    report = await transcribe_recording(reader(await stored(5)), transcriber, KEY, OPTIONS)
    assert transcriber.asked.count("de") == 2, "windows in that language are decoded once"
    assert sorted(transcriber.windows) == [0, 1, 1, 2, 3, 4, 4]
    assert report.transcript.language == "de"
    assert (report.windows, report.warnings) == (5, ())
    assert {segment.language for segment in report.transcript.segments} == {None}


async def test_a_window_in_another_language_is_written_in_it_and_said() -> None:
    store = InMemoryArtifactStore()
    said = [Utterance(start_s=30.0 * n + 1, end_s=30.0 * n + 21, text=f"number {n}", speaker=0) for n in range(5)]
    await store.write(KEY, write_wav(said, duration_s=151.0))
    transcriber = Polyglot(("en", 0.9), ("en", 0.9), ("en", 0.8), ("es", 0.95), ("es", 0.6))
    report = await transcribe_recording(reader(store), transcriber, KEY, OPTIONS)
    assert report.transcript.language == "en"
    assert [segment.language for segment in report.transcript.segments] == [None, None, None, "es", None]
    [warning] = report.warnings
    assert warning.code == "languages_differ"
    assert warning.start_s == pytest.approx(91.0, abs=1.0)
    assert "English there is Spanish" in warning.message

    fixed = Polyglot()
    report = await transcribe_recording(reader(store), fixed, KEY, TranscriptionOptions(language="en"))
    assert (set(fixed.asked), report.warnings) == ({"en"}, ())


async def test_a_given_language_is_not_guessed() -> None:
    transcriber = Polyglot()
    await transcribe_recording(reader(await stored(2)), transcriber, KEY, TranscriptionOptions(language="nl"))
    assert transcriber.asked == ["nl", "nl"]


async def test_windows_are_no_longer_than_the_model_knows() -> None:
    class ShortSighted(FakeTranscriber):
        async def info(self) -> AsrInfo:
            info = await super().info()
            return replace(info, max_window_s=12.0)

    store = InMemoryArtifactStore()
    await store.write(KEY, write_wav([Utterance(start_s=s, end_s=s + 6.0, text="six") for s in (0.0, 7.0, 14.0, 21.0)]))
    wanted = list[WindowingOptions]()

    def detector(options: WindowingOptions) -> FakeSpeechDetector:
        wanted.append(options)
        return FakeSpeechDetector()

    report = await transcribe_recording(LocalReader(store.open, PyavDecoder(), detector), ShortSighted(), KEY, OPTIONS)
    assert report.windows == 4
    assert wanted == [WindowingOptions(max_window_s=12.0, min_silence_duration_ms=200, speech_pad_ms=200)]
    report = await transcribe_recording(reader(store), FakeTranscriber(), KEY, OPTIONS)
    assert report.windows == 1


async def test_speech_without_text_is_reported() -> None:
    class Deaf(FakeTranscriber):
        async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
            transcript = await super().transcribe(window, options)
            return replace(transcript, segments=(), redecoded=True) if window.index == 1 else transcript

    report = await transcribe_recording(reader(await stored(3)), Deaf(), KEY, OPTIONS)
    assert [(span.start_s, span.end_s, span.reason) for span in report.dropped_spans] == [(11.0, 12.0, "no_text")]
    assert report.redecoded_windows == 1


async def test_windows_in_flight_are_bounded() -> None:
    class Counting(FakeTranscriber):
        now = most = 0

        async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.to_thread(lambda: None)
            self.now -= 1
            return await super().transcribe(window, options)

    transcriber = Counting()
    await transcribe_recording(reader(await stored(12)), transcriber, KEY, OPTIONS, max_in_flight=3)
    assert 1 <= transcriber.most <= 3


@pytest.mark.parametrize("heard_of", [0, 2])
async def test_an_interrupted_run_goes_on_after_the_last_window_that_was_heard_of(heard_of: int) -> None:
    class Failing(FakeTranscriber):
        async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
            if window.index == 2 * WAVE_WINDOWS + heard_of:
                raise ModelUnavailable("the replica died")
            return await super().transcribe(window, options)

    count = 2 * WAVE_WINDOWS + 5
    store, seen = await stored(count), list[int]()

    async def on_window(window: WindowTranscript) -> None:
        seen.append(window.index)

    async def run(transcriber: Transcriber) -> object:
        return await transcribe_recording(
            reader(store),
            transcriber,
            KEY,
            OPTIONS,
            max_in_flight=1,
            on_window=on_window,
            artifacts=store,
            prefix=PREFIX,
        )

    with pytest.raises(ModelUnavailable):
        await run(Failing())
    assert seen == list(range(2 * WAVE_WINDOWS + heard_of))
    assert await store.list_keys(PREFIX) == tuple(f"{PREFIX}/wave-{n:04d}.json" for n in range(3 if heard_of else 2))
    seen.clear()
    again = FakeTranscriber()
    resumed = await run(again)
    assert again.windows == list(range(2 * WAVE_WINDOWS + heard_of, count))
    assert seen == list(range(2 * WAVE_WINDOWS + heard_of - 1, count)), (
        "it may have been killed before it told the last"
    )
    assert resumed == await transcribe_recording(reader(store), FakeTranscriber(), KEY, OPTIONS)


async def test_a_resumed_run_keeps_its_language() -> None:
    store = await stored(WAVE_WINDOWS)
    first = Polyglot(*[("de", 0.9)] * WAVE_WINDOWS)
    await transcribe_recording(reader(store), first, KEY, OPTIONS, artifacts=store, prefix=PREFIX)
    longer = await stored(WAVE_WINDOWS + 3)
    unsure = [("fr", 0.7)] * (WAVE_WINDOWS + 3)
    again = Polyglot(*unsure)
    report = await transcribe_recording(reader(longer), again, KEY, OPTIONS, artifacts=store, prefix=PREFIX)
    assert again.asked.count("de") == 3
    assert report.transcript.language == "de"


async def test_a_failure_stops_the_reader_and_leaves_nothing_running() -> None:
    closed = []

    class Reader(LocalReader):
        async def windows(
            self, source: str | AudioSource, options: WindowingOptions, *, first_index: int = 0
        ) -> AsyncGenerator[Window | AudioExtent, None]:
            try:
                async for item in super().windows(source, options, first_index=first_index):
                    yield item
            finally:
                closed.append(True)

    class Broken(FakeTranscriber):
        async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
            raise ModelUnavailable("broken")

    store = await stored(6)
    broken = Reader(store.open, PyavDecoder(), lambda options: FakeSpeechDetector())
    with pytest.raises(ModelUnavailable):
        await transcribe_recording(broken, Broken(), KEY, OPTIONS)
    assert closed == [True]
    assert len(asyncio.all_tasks()) == 1
