"""The RecordingReader over Ray tasks: decoding a stranger's file never happens in a process that serves."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, NoReturn

import ray
from ray.exceptions import RayError, RayTaskError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.domain.audio import (
    AudioExtent,
    AudioSource,
    ChannelReport,
    PieceCut,
    Recording,
    RecordingPiece,
    Waveform,
    Window,
    WindowingOptions,
    source_of,
)
from pipelines.domain.job import Upload
from pipelines.errors import AudioDamaged, DependencyError
from serve_app.remote import recording_tasks
from serve_app.remote.calls import raise_translated

_INTERRUPTION_S = 5.0
"""How long a task may take to notice that it was interrupted."""


class TaskRecordingReader:
    """Implements RecordingReader with Ray tasks.

    Whoever leaves a call ends its task. A recording of which the process that reads it dies, each time that Ray tries,
    is damaged: no retry helps.
    """

    def __init__(self, artifacts: str, detector: str) -> None:
        """Take the artifact store's URL, which the tasks open themselves, and the speech detector's name."""
        self._artifacts = artifacts
        self._detector = detector

    async def probe(self, upload: Upload) -> Recording:
        """Read the headers in a task on this node, where an upload into a folder has just been written."""
        node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        task = recording_tasks.probe_recording.options(scheduling_strategy=node)
        recording: Recording = await _result_of(task.remote(self._artifacts, upload))
        return recording

    async def channels(self, artifact: str, *, max_duration_s: float) -> ChannelReport:
        """Return what a task has found in both channels."""
        report: ChannelReport = await _result_of(
            recording_tasks.compare_channels.remote(self._artifacts, artifact, max_duration_s)
        )
        return report

    async def windows(
        self, source: str | AudioSource, options: WindowingOptions, *, first_index: int = 0
    ) -> AsyncGenerator[Window | AudioExtent, None]:
        """Yield windows whose samples are object references; the task waits while more than a few are unread."""
        produced = recording_tasks.speech_windows.remote(
            self._artifacts, source_of(source), options, first_index, self._detector
        )
        async with aclosing(_paired(produced, Window)) as items:
            async for item in items:
                yield item

    async def pieces(
        self, source: str | AudioSource, cut: PieceCut, *, max_duration_s: float, skip: Collection[int] = ()
    ) -> AsyncGenerator[RecordingPiece, None]:
        """Yield pieces whose samples are object references; the task waits while more than two are unread."""
        produced = recording_tasks.recording_pieces.remote(
            self._artifacts, source_of(source), cut, max_duration_s, frozenset(skip)
        )
        async with aclosing(_paired(produced, RecordingPiece)) as items:
            async for item in items:
                yield item

    async def samples(self, artifact: str, *, max_duration_s: float, lead: Sequence[str] = ()) -> object:
        """Return a reference to the whole recording, once it is there."""
        task: Any = recording_tasks.whole_recording  # Ray's stubs know no task of two results
        samples, count = task.remote(self._artifacts, artifact, max_duration_s, tuple(lead))
        await _result_of(count)
        return samples

    async def waveform(self, artifact: str, *, max_duration_s: float) -> Waveform:
        """Return the peaks that a task has measured."""
        waveform: Waveform = await _result_of(
            recording_tasks.recording_waveform.remote(self._artifacts, artifact, max_duration_s)
        )
        return waveform


async def _paired(produced: Any, holds_samples: type[Window | RecordingPiece]) -> AsyncGenerator[Any, None]:
    """Put the references to samples, which follow their descriptions, into these."""
    try:
        async for reference in produced:
            item = await reference
            if isinstance(item, holds_samples):
                item = replace(item, samples=await anext(produced))
            yield item
    except RayError as error:
        _raise_reading_error(error)
    except (asyncio.CancelledError, GeneratorExit):
        _end_task(produced)
        raise


async def _result_of(task: Any) -> Any:
    try:
        return await task
    except RayError as error:
        _raise_reading_error(error)
    except asyncio.CancelledError:
        _end_task(task)
        raise


def _end_task(task: Any) -> None:
    """Interrupt a task that nobody waits for; one that does not hear it, in a call that hangs, loses its process."""
    ray.cancel(task)
    asyncio.get_running_loop().call_later(_INTERRUPTION_S, _kill_task, task)


def _kill_task(task: Any) -> None:
    if ray.is_initialized():
        ray.cancel(task, force=True)


def _raise_reading_error(error: RayError) -> NoReturn:
    if isinstance(error, RayTaskError):
        raise_translated(error)
    if isinstance(error, WorkerCrashedError):
        raise AudioDamaged("this recording cannot be decoded: the decoder crashes") from error
    raise DependencyError("recordings cannot be read at the moment") from error
