"""Diarizer over a pyannote.audio 4 pipeline folder (Bredin 2023; community-1, or the small one that ships)."""

import asyncio
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipelines.checkpoints import checkpoint_hash, folder_bytes
from pipelines.domain.audio import SAMPLE_RATE_HZ, RecordingPiece
from pipelines.domain.model import DiarizerInfo
from pipelines.domain.samples import as_float
from pipelines.domain.speakers import Diarization, DiarizationOptions, SpeakerTurn
from pipelines.engine_errors import model_errors
from pipelines.errors import InvalidRequest, ModelOutOfMemory, ModelUnavailable, NotAvailable
from pipelines.speakers.engines.pyannote_pieces import cluster_pieces, hear_piece, piece_cut
from pipelines.speakers.heard import pack_heard, unpack_heard

os.environ["PYANNOTE_METRICS_ENABLED"] = "false"  # read once, when pyannote.audio is imported
BATCH_SIZE = 32
"""Windows (segmentation) and crops (embedding) a model call."""


Hook = Callable[..., None]
ResultT = TypeVar("ResultT")


class Abandoned(Exception):
    """Nobody waits for this diarization any more."""


class PyannoteDiarizer:
    """Implements Diarizer. One recording at a time: pyannote's pipeline keeps state between its steps."""

    def __init__(self, pipeline: Any, info: DiarizerInfo) -> None:
        self._pipeline = pipeline
        self._info = info
        self._batch_size = BATCH_SIZE
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pyannote")

    @classmethod
    async def load(
        cls,
        folder: Path,
        *,
        name: str = "community-1",
        device: str = "cpu",
        threads: int | None = None,
        step_s: float | None = None,
    ) -> "PyannoteDiarizer":
        """Load a pipeline from its folder, in float32 (half precision cost 27–33 % DER in one published profile).

        ``step_s``: from one chunk of the segmentation to the next; None: as the pipeline says (mostly 1 s).

        Takes 15 s, nearly all of it importing. Nothing is downloaded and no usage is reported. Raises
        ModelUnavailable.
        """
        return await asyncio.to_thread(cls._load, folder, name, device, threads, step_s)

    @classmethod
    def _load(
        cls, folder: Path, name: str, device: str, threads: int | None, step_s: float | None
    ) -> "PyannoteDiarizer":
        try:
            pipeline = _build(folder, device, threads)
            if step_s is not None:
                pipeline._segmentation.step = step_s
            digest = checkpoint_hash(folder)
        except Exception as error:
            raise ModelUnavailable(f"{name} could not be loaded ({type(error).__name__})") from error
        return cls(
            pipeline,
            DiarizerInfo(
                backend="pyannote",
                name=name,
                path=str(folder),
                description="Who speaks when",
                checkpoint_hash=digest,
                compute_type="float32",
                device=device,
                memory_bytes=folder_bytes(folder),
                capabilities=("overlap", "exclusive_turns", "num_speakers"),
                clustering=str(pipeline.klustering),
                pieces=piece_cut(pipeline),
            ),
        )

    async def diarize(self, samples: object, options: DiarizationOptions) -> Diarization:
        """Diarize int16 mono samples at 16 kHz; a cancelled call stops between two batches of the models."""
        _require_possible(options)
        given = np.asarray(samples)
        return await self._in_turn(lambda hook: self._diarize(given, options, hook))

    async def hear(self, samples: object, piece: RecordingPiece) -> bytes:
        """Segment a piece's chunks and embed their speakers; a cancelled call stops as that of ``diarize``."""
        if self._info.pieces is None:
            raise NotAvailable(f"{self._info.name} takes no pieces")
        given = np.asarray(samples)

        def work(hook: Hook) -> bytes:
            with model_errors("the diarization pipeline"):
                return pack_heard(hear_piece(self._pipeline, given, hook), self._info.checkpoint_hash)

        return await self._in_turn(lambda hook: self._fitting(lambda: work(hook)))

    async def tell_apart(self, heard: Sequence[bytes], options: DiarizationOptions) -> Diarization:
        """Cluster the chunks of all pieces."""
        _require_possible(options)
        if self._info.pieces is None:
            raise NotAvailable(f"{self._info.name} takes no pieces")
        return await self._in_turn(lambda hook: self._tell_apart(heard, options, hook))

    async def _in_turn(self, work: Callable[[Hook], ResultT]) -> ResultT:
        abandoned = threading.Event()

        def stop_if_abandoned(*_: object, **__: object) -> None:
            if abandoned.is_set():
                raise Abandoned

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, stop_if_abandoned)
        finally:
            abandoned.set()

    async def info(self) -> DiarizerInfo:
        """Say what is loaded."""
        return replace(self._info, batch_size=self._batch_size)

    def close(self) -> None:
        """End the model's thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _diarize(self, samples: Any, options: DiarizationOptions, hook: Hook) -> Diarization:
        if not samples.any():
            return Diarization(turns=(), exclusive_turns=())
        return _turns(self._fitting(lambda: self._apply(samples, options, hook)))

    def _tell_apart(self, heard: Sequence[bytes], options: DiarizationOptions, hook: Hook) -> Diarization:
        pieces = unpack_heard(heard, self._info.checkpoint_hash)
        if not any(np.any(piece["scores"]) for piece in pieces):
            return Diarization(turns=(), exclusive_turns=())
        with model_errors("the diarization pipeline"):
            return _turns(cluster_pieces(self._pipeline, pieces, **asdict(options), hook=hook))

    def _fitting(self, work: Callable[[], ResultT]) -> ResultT:
        """Run the models; where memory is short, with batches of half the size, for all recordings after it too."""
        while True:
            try:
                return work()
            except ModelOutOfMemory:
                if self._batch_size == 1:
                    raise
                self._batch_size //= 2
                _set_batch_size(self._pipeline, self._batch_size)

    def _apply(self, samples: Any, options: DiarizationOptions, hook: Hook) -> Any:
        import torch

        waveform = torch.from_numpy(as_float(samples)).unsqueeze(0)
        with model_errors("the diarization pipeline"):
            return self._pipeline(
                {"waveform": waveform, "sample_rate": SAMPLE_RATE_HZ},
                **asdict(options),
                hook=hook,
            )


def _require_possible(options: DiarizationOptions) -> None:
    if (options.min_speakers or 1) > (options.max_speakers or options.min_speakers or 1):
        raise InvalidRequest("min_speakers is larger than max_speakers", "min_speakers")


def _turns(output: Any) -> Diarization:
    """Return pyannote's two annotations as turns, with speakers named anew by first appearance."""
    heard = _read(output.speaker_diarization)
    names = {label: f"SPEAKER_{n:02d}" for n, label in enumerate(dict.fromkeys(label for _, _, label in heard))}
    return Diarization(
        turns=_named(heard, names), exclusive_turns=_named(_read(output.exclusive_speaker_diarization), names)
    )


def _read(annotation: Any) -> list[tuple[float, float, str]]:
    tracks = annotation.itertracks(yield_label=True)
    return sorted((float(turn.start), float(turn.end), str(label)) for turn, _, label in tracks)


def _named(turns: list[tuple[float, float, str]], names: Mapping[str, str]) -> tuple[SpeakerTurn, ...]:
    return tuple(
        SpeakerTurn(start_s=round(start, 3), end_s=round(end, 3), speaker=names[label]) for start, end, label in turns
    )


def _build(folder: Path, device: str, threads: int | None) -> Any:
    import torch
    from pyannote.audio import Pipeline

    if threads:
        torch.set_num_threads(threads)
    pipeline = Pipeline.from_pretrained(folder)
    if pipeline is None:
        raise FileNotFoundError(folder)
    _set_batch_size(pipeline, BATCH_SIZE)
    return pipeline.to(torch.device(device))


def _set_batch_size(pipeline: Any, batch_size: int) -> None:
    pipeline.segmentation_batch_size = batch_size
    pipeline.embedding_batch_size = batch_size
