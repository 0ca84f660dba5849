"""What every RecordingReader in this process owes; the one over Ray tasks is shown with the application."""

import asyncio
from contextlib import aclosing

import numpy as np
import pytest

from pipelines.audio.decode import PyavDecoder
from pipelines.audio.reader import LocalReader
from pipelines.domain.audio import AudioExtent, Window, WindowingOptions
from pipelines.domain.job import Upload
from pipelines.errors import ArtifactNotFound, TooLarge, UnsupportedMedia
from pipelines.fakes.models import FakeSpeechDetector
from pipelines.fakes.scripted_speech import Utterance, write_samples, write_wav
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.ports.audio import RecordingReader
from tests.audio.containers import wav_header

KEY = "acme/uploads/recording"
SAID = [Utterance(start_s=10.0 * number + 1, end_s=10.0 * number + 2, text="word") for number in range(5)]
OPTIONS = WindowingOptions()


@pytest.fixture
async def reader() -> RecordingReader:
    store = InMemoryArtifactStore()
    await store.write(KEY, write_wav(SAID, duration_s=52.0))
    await store.write("acme/uploads/text", b"Dear all,\n" * 100)
    await store.write("acme/uploads/cut", wav_header(data=bytes(64_000), claimed_bytes=640_000))
    return LocalReader(store.open, PyavDecoder(), lambda options: FakeSpeechDetector())


async def read(reader: RecordingReader, artifact: str = KEY, *, first_index: int = 0) -> list[Window | AudioExtent]:
    async with aclosing(reader.windows(artifact, OPTIONS, first_index=first_index)) as items:
        return [item async for item in items]


async def test_headers_are_read(reader: RecordingReader) -> None:
    recording = await reader.probe(Upload(filename="a.wav", sha256="00", bytes=5, artifact=KEY))
    assert (recording.duration_s, recording.channels, recording.filename) == (52.0, 1, "a.wav")


async def test_windows_come_in_order_and_then_the_extent(reader: RecordingReader) -> None:
    *windows, extent = await read(reader)
    assert [window.index for window in windows if isinstance(window, Window)] == [0, 1, 2, 3, 4]
    assert isinstance(extent, AudioExtent)
    assert (extent.duration_s, extent.warnings) == (52.0, ())
    assert extent.speech_s == pytest.approx(5.0)


async def test_a_second_read_skips_what_is_known_and_changes_nothing(reader: RecordingReader) -> None:
    everything, rest = await read(reader), await read(reader, first_index=3)
    assert len(rest) == 3
    for before, after in zip(everything[3:], rest, strict=True):
        if isinstance(before, Window):
            assert isinstance(after, Window)
            assert (before.index, before.start_s, before.end_s) == (after.index, after.start_s, after.end_s)
            assert np.array_equal(np.asarray(before.samples), np.asarray(after.samples))
        else:
            assert before == after


async def test_closing_early_stops_the_producer(reader: RecordingReader) -> None:
    async with aclosing(reader.windows(KEY, OPTIONS)) as items:
        assert isinstance(await anext(items), Window)
    assert len(asyncio.all_tasks()) == 1


async def test_cancelling_while_a_block_is_decoded_leaves_nothing_behind(reader: RecordingReader) -> None:
    reading = asyncio.create_task(read(reader))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert len(await read(reader)) == 6


async def test_what_is_missing_from_the_container_is_said(reader: RecordingReader) -> None:
    *_, extent = await read(reader, "acme/uploads/cut")
    assert isinstance(extent, AudioExtent)
    assert extent.duration_s == 2.0
    assert len(extent.warnings) == 1


async def test_errors_are_those_of_the_decoder_and_the_store(reader: RecordingReader) -> None:
    with pytest.raises(UnsupportedMedia):
        await read(reader, "acme/uploads/text")
    with pytest.raises(ArtifactNotFound):
        await read(reader, "acme/uploads/none")
    with pytest.raises(UnsupportedMedia):
        await reader.probe(Upload(filename="a", sha256="", bytes=0, artifact="acme/uploads/text"))


async def test_the_whole_recording_can_be_had_at_once(reader: RecordingReader) -> None:
    samples = await reader.samples(KEY, max_duration_s=60.0)
    assert np.array_equal(np.asarray(samples), write_samples(SAID, duration_s=52.0))
    with pytest.raises(TooLarge):
        await reader.samples(KEY, max_duration_s=51.0)
