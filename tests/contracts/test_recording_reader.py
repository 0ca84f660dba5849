"""What every RecordingReader owes: in this process, and over Ray tasks on a cluster of one CPU."""

import asyncio
import io
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray

from pipelines.audio.decode import PyavDecoder
from pipelines.audio.reader import LocalReader, cut_pieces
from pipelines.domain.audio import AudioExtent, PieceCut, Recording, RecordingPiece, Window, WindowingOptions
from pipelines.domain.job import Upload
from pipelines.errors import (
    ArtifactNotFound,
    ArtifactStoreUnavailable,
    AudioDamaged,
    DeadlineExceeded,
    TooLarge,
    UnsupportedMedia,
)
from pipelines.fakes.models import FakeSpeechDetector
from pipelines.fakes.scripted_speech import Utterance, write_samples, write_wav
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.audio import RecordingReader
from pipelines.stores.artifacts import FsspecArtifactStore
from serve_app.laptop import private_ray
from serve_app.remote import recording_reader, recording_tasks
from serve_app.remote.guarded import guarded
from serve_app.remote.policy_table import policy_table
from serve_app.remote.recording_reader import TaskRecordingReader
from serve_app.resilience import Guard
from serve_app.settings import Policy, ResilienceSettings
from tests.audio.containers import wav_header

KEY = "acme/uploads/recording"
SAID = [Utterance(start_s=10.0 * number + 1, end_s=10.0 * number + 2, text="word") for number in range(5)]
OPTIONS = WindowingOptions()
UPLOAD = Upload(filename="a.wav", sha256="00", bytes=5, artifact=KEY)


@pytest.fixture(scope="module")
def one_cpu() -> Iterator[None]:
    """A private Ray of one CPU: what a laptop's eight are to eight times as many readings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private_ray, "_LOGICAL_CPUS", 1)
        with private_ray.private_ray(verbose=False, pretended_gpus=0):
            yield


@pytest.fixture(params=["in process", pytest.param("over ray tasks", marks=pytest.mark.serve)])
async def reader(request: pytest.FixtureRequest, tmp_path: Path) -> RecordingReader:
    store: ArtifactStore = InMemoryArtifactStore()
    if request.param == "over ray tasks":
        request.getfixturevalue("one_cpu")
        store = FsspecArtifactStore(str(tmp_path))
    await store.write(KEY, write_wav(SAID, duration_s=52.0))
    await store.write("acme/uploads/text", b"Dear all,\n" * 100)
    await store.write("acme/uploads/cut", wav_header(data=bytes(64_000), claimed_bytes=640_000))
    if request.param == "over ray tasks":
        return over_tasks(tmp_path)
    return LocalReader(store.open, PyavDecoder(), lambda options: FakeSpeechDetector())


def over_tasks(artifacts: Path, **policy: Any) -> RecordingReader:
    rules = Policy(**{"timeout_s": 60.0, "retries": 2, **policy})
    reader = TaskRecordingReader(str(artifacts), "scripted")
    return guarded(RecordingReader, reader, Guard(), policy_table(ResilienceSettings(reader=rules))[RecordingReader])


async def resolved(samples: object) -> object:
    """Return an array, or what a reference stands for; a model's replica gets it from Ray."""
    return await samples if isinstance(samples, ray.ObjectRef) else samples


async def read(reader: RecordingReader, artifact: str = KEY, *, first_index: int = 0) -> list[Window | AudioExtent]:
    async with aclosing(reader.windows(artifact, OPTIONS, first_index=first_index)) as items:
        return [
            replace(item, samples=await resolved(item.samples)) if isinstance(item, Window) else item
            async for item in items
        ]


async def test_headers_are_read(reader: RecordingReader) -> None:
    recording = await reader.probe(UPLOAD)
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
    samples = await resolved(await reader.samples(KEY, max_duration_s=60.0))
    assert np.array_equal(np.asarray(samples), write_samples(SAID, duration_s=52.0))
    with pytest.raises(TooLarge):
        await reader.samples(KEY, max_duration_s=51.0)


async def test_peaks_show_where_somebody_speaks(reader: RecordingReader) -> None:
    waveform = await reader.waveform(KEY, max_duration_s=60.0)
    samples = np.abs(write_samples(SAID, duration_s=52.0).astype(np.int32))
    assert (waveform.duration_s, len(waveform.peaks)) == (52.0, 5200)
    loudest = samples.reshape(5200, -1).max(axis=1)
    assert list(waveform.peaks) == np.ceil(loudest * 100 / 32_768).astype(int).tolist()
    with pytest.raises(TooLarge):
        await reader.waveform(KEY, max_duration_s=51.0)


class Tasks:
    """Stands in for the task that probes; writes down the process of each run, and does what it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def behave(self, behaviour: str) -> Any:
        folder = self.folder

        @ray.remote(num_cpus=0, max_retries=0)
        def probe(artifacts: str, upload: Upload) -> Recording:
            (folder / f"{time.monotonic_ns()}").write_text(str(os.getpid()))
            if behaviour == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            if behaviour == "refuse":
                raise UnsupportedMedia("this is not audio", "file")
            if len(list(folder.iterdir())) < 3:
                raise ArtifactStoreUnavailable("the store is away")
            return PyavDecoder().probe(io.BytesIO(write_wav(SAID)), upload)

        return probe

    @property
    def pids(self) -> list[int]:
        return [int(text) for path in sorted(self.folder.iterdir()) if (text := path.read_text())]


@pytest.fixture
def tasks(one_cpu: None, tmp_path: Path) -> Tasks:
    folder = tmp_path / "runs"
    folder.mkdir()
    return Tasks(folder)


def free_cpus() -> float:
    """Return what Ray has left to admit; it counts ten times a second."""
    core: Any = ray
    return float(core.available_resources().get("CPU", 0.0))


def is_running(task: str) -> bool:
    """Say whether a process below this one works at this task: Ray gives it the task's name."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(f"ray::{task}" in argument for argument in process.cmdline()):
                return True
    return False


async def eventually(holds: Any, what: str) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 — no event comes from another process
            await asyncio.sleep(0.02)
    assert holds(), what


@pytest.mark.serve
class TestOverRayTasks:
    async def test_probing_waits_for_no_reading(self, one_cpu: None, tmp_path: Path) -> None:
        talk = [Utterance(start_s=3.0 * n + 0.5, end_s=3.0 * n + 2.5, text="word") for n in range(20)]
        await FsspecArtifactStore(str(tmp_path)).write(KEY, write_wav(talk))
        reader = over_tasks(tmp_path)
        async with AsyncExitStack() as under_way:
            for _ in range(round(1 / recording_tasks.READING_CPUS)):
                reading = reader.windows(KEY, replace(OPTIONS, max_window_s=4.0))
                items: AsyncIterator[Window | AudioExtent] = await under_way.enter_async_context(aclosing(reading))
                await anext(items)  # and no further: the task waits for its reader now
            await eventually(lambda: free_cpus() == 0.0, "all CPUs are taken")
            assert (await reader.probe(UPLOAD)).duration_s == pytest.approx(59.5, abs=1.0)
        await eventually(lambda: free_cpus() == 1.0, "closing ends the tasks")

    @pytest.mark.parametrize("task", ["probe_recording", "whole_recording", "_produce_windows"])
    async def test_leaving_a_task_that_hangs_ends_it(
        self, one_cpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
    ) -> None:
        monkeypatch.setattr(recording_reader, "_INTERRUPTION_S", 0.1)
        (tmp_path / "acme").mkdir()
        os.mkfifo(tmp_path / "acme" / "hanging")  # whoever opens it to read waits for a writer, deaf to interruptions
        reader = over_tasks(tmp_path)
        calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "probe_recording": lambda: reader.probe(replace(UPLOAD, artifact="acme/hanging")),
            "whole_recording": lambda: reader.samples("acme/hanging", max_duration_s=60.0),
            "_produce_windows": lambda: read(reader, "acme/hanging"),
        }
        reading = asyncio.create_task(calls[task]())
        await eventually(lambda: is_running(task), "the task runs")
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await eventually(lambda: not is_running(task), "the task has ended")

    async def test_a_probe_that_hangs_is_late(
        self, one_cpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recording_reader, "_INTERRUPTION_S", 0.1)
        (tmp_path / "acme").mkdir()
        os.mkfifo(tmp_path / "acme" / "hanging")
        with pytest.raises(DeadlineExceeded):
            await over_tasks(tmp_path, timeout_s=0.2, retries=0).probe(replace(UPLOAD, artifact="acme/hanging"))
        await eventually(lambda: not is_running("probe_recording"), "the task has ended")

    async def test_what_fails_for_a_moment_is_read_again(
        self, tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recording_tasks, "probe_recording", tasks.behave("fail twice"))
        assert (await over_tasks(tmp_path).probe(UPLOAD)).filename == "a.wav"
        assert len(tasks.pids) == 3

    @pytest.mark.parametrize(("behaviour", "error"), [("refuse", UnsupportedMedia), ("crash", AudioDamaged)])
    async def test_what_is_wrong_with_the_file_is_not(
        self, tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, error: type[Exception]
    ) -> None:
        monkeypatch.setattr(recording_tasks, "probe_recording", tasks.behave(behaviour))
        with pytest.raises(error):
            await over_tasks(tmp_path).probe(UPLOAD)
        assert len(tasks.pids) == 1


CUT = PieceCut(own_samples=20 * 16_000, before_samples=2 * 16_000, after_samples=5 * 16_000)


async def read_pieces(
    reader: RecordingReader, skip: frozenset[int] = frozenset(), **options: float
) -> list[RecordingPiece]:
    async with aclosing(reader.pieces(KEY, CUT, **{"max_duration_s": 100.0, **options}, skip=skip)) as pieces:
        return [replace(piece, samples=await resolved(piece.samples)) async for piece in pieces]


async def test_pieces_abut_and_bring_what_lies_around_them(reader: RecordingReader) -> None:
    pieces = await read_pieces(reader)
    whole = np.asarray(await resolved(await reader.samples(KEY, max_duration_s=100.0)))
    assert [(piece.index, piece.start / 16_000, piece.end / 16_000) for piece in pieces] == [
        (0, 0, 20),
        (1, 20, 40),
        (2, 40, 52),
    ]
    for piece in pieces:
        first, last = max(0, piece.start - CUT.before_samples), min(len(whole), piece.end + CUT.after_samples)
        assert piece.samples_start == first
        assert np.array_equal(np.asarray(piece.samples), whole[first:last])


async def test_pieces_that_are_known_are_skipped_and_long_recordings_refused(reader: RecordingReader) -> None:
    assert [piece.index for piece in await read_pieces(reader, frozenset({0, 2}))] == [1]
    with pytest.raises(TooLarge):
        await read_pieces(reader, max_duration_s=10.0)


def test_a_short_rest_belongs_to_the_piece_before_it() -> None:
    samples = np.arange(20_000, dtype=np.int16)
    for own, ends in ((8_000, [8_000, 20_000]), (7_000, [7_000, 14_000, 20_000]), (30_000, [20_000])):
        cut = PieceCut(own_samples=own, after_samples=5_000)
        assert [piece.end for piece in cut_pieces(np.array_split(samples, 9), cut)] == ends
    assert list(cut_pieces([], PieceCut(own_samples=5))) == []
