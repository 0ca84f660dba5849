"""What surrounds pyannote's pipeline: names, one call at a time, errors, and stopping when nobody waits."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.domain.model import DiarizerInfo
from pipelines.domain.speakers import DiarizationOptions, SpeakerTurn
from pipelines.errors import ModelError, ModelOutOfMemory, ModelUnavailable
from pipelines.speakers.engines.pyannote import Abandoned, PyannoteDiarizer

pytestmark = pytest.mark.engines

NOISE = np.ones(16_000, dtype=np.int16)
Track = tuple[float, float, str]


@dataclass(frozen=True)
class Turn:
    start: float
    end: float


class Annotation:
    """As much of pyannote.core's as is read."""

    def __init__(self, *tracks: Track) -> None:
        self._tracks = tracks

    def itertracks(self, yield_label: bool) -> Iterator[tuple[Turn, int, str]]:
        for number, (start, end, label) in enumerate(self._tracks):
            yield Turn(start, end), number, label


@dataclass(frozen=True)
class Output:
    speaker_diarization: Annotation
    exclusive_speaker_diarization: Annotation


def output(*tracks: Track) -> Output:
    return Output(Annotation(*tracks), Annotation(*tracks))


@pytest.fixture
def diarizer_over() -> Iterator[Callable[[Callable[..., Output]], PyannoteDiarizer]]:
    made: list[PyannoteDiarizer] = []

    def make(pipeline: Callable[..., Output]) -> PyannoteDiarizer:
        made.append(PyannoteDiarizer(pipeline, DiarizerInfo(backend="pyannote", name="stub")))
        return made[-1]

    yield make
    for diarizer in made:
        diarizer.close()


Make = Callable[[Callable[..., Output]], PyannoteDiarizer]


async def test_speakers_are_renamed_by_first_appearance(diarizer_over: Make) -> None:
    diarizer = diarizer_over(lambda file, **_: output((2.0, 3.0, "SPEAKER_00"), (0.5, 1.0004, "SPEAKER_01")))
    found = await diarizer.diarize(NOISE, DiarizationOptions())
    assert found.turns == (
        SpeakerTurn(start_s=0.5, end_s=1.0, speaker="SPEAKER_00"),
        SpeakerTurn(start_s=2.0, end_s=3.0, speaker="SPEAKER_01"),
    )
    assert found.exclusive_turns == found.turns


async def test_the_pipeline_gets_a_waveform_in_memory_and_the_numbers(diarizer_over: Make) -> None:
    seen: dict[str, Any] = {}

    def pipeline(file: dict[str, Any], **options: Any) -> Output:
        seen.update(file, **options)
        return output()

    await diarizer_over(pipeline).diarize(NOISE, DiarizationOptions(num_speakers=2, max_speakers=3))
    assert (tuple(seen["waveform"].shape), seen["sample_rate"]) == ((1, 16_000), 16_000)
    assert str(seen["waveform"].dtype) == "torch.float32"
    assert (seen["num_speakers"], seen["min_speakers"], seen["max_speakers"]) == (2, None, 3)


async def test_one_recording_at_a_time(diarizer_over: Make) -> None:
    inside = threading.Lock()

    def pipeline(file: object, **_: object) -> Output:
        assert inside.acquire(blocking=False), "two calls are in the pipeline"
        inside.release()
        return output()

    diarizer = diarizer_over(pipeline)
    await asyncio.gather(*(diarizer.diarize(NOISE, DiarizationOptions()) for _ in range(5)))


async def test_a_cancelled_call_stops_at_the_next_step(diarizer_over: Make) -> None:
    begun, go_on, stopped = threading.Event(), threading.Event(), threading.Event()

    def pipeline(file: object, *, hook: Callable[..., None], **_: object) -> Output:
        begun.set()
        go_on.wait()
        try:
            hook("segmentation", None, completed=1, total=9)
        except Abandoned:
            stopped.set()
            raise
        return output()

    diarizer = diarizer_over(pipeline)
    call = asyncio.create_task(diarizer.diarize(NOISE, DiarizationOptions()))
    await asyncio.to_thread(begun.wait)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    assert await asyncio.to_thread(stopped.wait, 5.0)


async def test_errors_of_the_pipeline_are_ours(diarizer_over: Make) -> None:
    import torch

    for theirs, ours in (
        (torch.OutOfMemoryError("CUDA out of memory"), ModelOutOfMemory),
        (ValueError("shape"), ModelError),
        (RuntimeError("kernel"), ModelError),
    ):

        def pipeline(file: object, error: Exception = theirs, **_: object) -> Output:
            raise error

        with pytest.raises(ours) as raised:
            await diarizer_over(pipeline).diarize(NOISE, DiarizationOptions())
        assert type(raised.value) is ours


async def test_where_memory_is_short_batches_are_halved_for_good(diarizer_over: Make) -> None:
    import torch

    sizes: list[int] = []

    class Pipeline:
        segmentation_batch_size = embedding_batch_size = 32

        def __call__(self, file: object, **_: object) -> Output:
            sizes.append(self.segmentation_batch_size)
            if self.embedding_batch_size > 8:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return output()

    diarizer = diarizer_over(Pipeline())
    for _ in range(2):
        await diarizer.diarize(NOISE, DiarizationOptions())
    assert sizes == [32, 16, 8, 8]
    assert (await diarizer.info()).batch_size == 8


async def test_a_folder_without_a_pipeline_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="nothing-here could not be loaded"):
        await PyannoteDiarizer.load(tmp_path, name="nothing-here")
