"""Diarizer for real voices that needs no account: pyannote's segmentation, GE2E embeddings, clustering, resegmentation.

Speech, changes of voice and overlap come from the segmentation (from Silero, without changes and overlap, where it is
missing or speed matters more); each stretch of one voice is embedded in windows of 1.6 s; windows are clustered into
voices; a hidden Markov model then says who speaks.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.audio.speech import SileroDetector
from pipelines.checkpoints import checkpoint_hash, folder_bytes
from pipelines.domain.audio import SAMPLE_RATE_HZ, PieceCut, RecordingPiece, TimeSpan, WindowingOptions
from pipelines.domain.model import DiarizerInfo
from pipelines.domain.speakers import Diarization, DiarizationOptions
from pipelines.engine_errors import is_out_of_memory, model_errors
from pipelines.errors import ModelUnavailable
from pipelines.speakers.clustering import (
    ClusteringOptions,
    SpeakerLimits,
    find_voices,
    follow_voices,
    refine_voices,
)
from pipelines.speakers.diarize import require_possible
from pipelines.speakers.engines.ge2e_conversion import ENCODER, HYPER_PARAMETERS, SEGMENTATION
from pipelines.speakers.engines.ge2e_encoder import Ge2eEncoder
from pipelines.speakers.engines.segmentation import FRAME_SAMPLES, STEP_SAMPLES, PyanNet
from pipelines.speakers.heard import Arrays, pack_heard, unpack_heard
from pipelines.speakers.turns import (
    WINDOW_SAMPLES,
    Span,
    Window,
    active_spans,
    bridge,
    clipped,
    cut_at,
    lay_windows,
    peaks,
    tell,
)

BATCH_SIZE = 32
"""Chunks (segmentation) and windows (embedding) a call of a network."""
_BLOCK_SAMPLES = 30 * SAMPLE_RATE_HZ
PIECES = PieceCut(own_samples=240 * STEP_SAMPLES, before_samples=6 * STEP_SAMPLES, after_samples=6 * STEP_SAMPLES)
"""Five minutes on the segmentation's grid: with 7.5 s around it, each of its frames is seen by the chunks of the whole.
Nothing but a stretch that begins or ends beyond that is laid out otherwise than in the whole recording."""
ResultT = TypeVar("ResultT")


class Abandoned(Exception):
    """Nobody waits for this diarization any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechOptions:
    """How scores become stretches of one voice."""

    speech_on: float = 0.6
    speech_off: float = 0.4
    bridged_s: float = 0.1
    """Shorter pauses are part of the speech."""
    shortest_s: float = 0.1
    change: float = 0.5
    """This share of the chunks must hear another voice begin."""
    shortest_stretch_s: float = 0.4
    overlap: float = 0.5
    shortest_overlap_s: float = 0.2
    clustered_s: float = 0.9
    """Shorter windows are followed, not clustered: they are poor witnesses of a voice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretches:
    """What was heard before anybody is told apart, in samples."""

    voices: tuple[Span, ...]
    overlaps: tuple[Span, ...]


Between = Callable[[], None]


class Ge2eDiarizer:
    """Implements Diarizer. One recording at a time; memory grows by 3 KB a second of speech, beside the samples."""

    def __init__(self, encoder: Ge2eEncoder, segmentation: PyanNet | None, info: DiarizerInfo) -> None:
        self._encoder = encoder
        self._segmentation = segmentation
        self._info = info
        self._speech = SpeechOptions()
        self._clustering = ClusteringOptions()
        self._batch_size = BATCH_SIZE
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ge2e")

    @classmethod
    async def load(
        cls, folder: Path, *, name: str = "ge2e", device: str = "cpu", threads: int | None = None, fast: bool = False
    ) -> "Ge2eDiarizer":
        """Load the folder that ``convert_sources`` makes; ``fast``, or no segmentation in it, means Silero instead.

        Nothing is downloaded. Raises ModelUnavailable.
        """
        return await asyncio.to_thread(cls._load, folder, name, device, threads, fast)

    @classmethod
    def _load(cls, folder: Path, name: str, device: str, threads: int | None, fast: bool) -> "Ge2eDiarizer":
        try:
            import torch

            if threads:
                torch.set_num_threads(threads)
            encoder = Ge2eEncoder(folder / ENCODER, device)
            weights = folder / SEGMENTATION
            segmentation = None if fast or not weights.exists() else PyanNet(weights, folder / HYPER_PARAMETERS, device)
            digest = checkpoint_hash(folder)
        except Exception as error:
            raise ModelUnavailable(f"{name} could not be loaded ({type(error).__name__})") from error
        return cls(
            encoder,
            segmentation,
            DiarizerInfo(
                backend="ge2e",
                name=name,
                path=str(folder),
                description="Who speaks when, by voice",
                checkpoint_hash=digest,
                compute_type="float32",
                device=device,
                memory_bytes=folder_bytes(folder),
                capabilities=("exclusive_turns", "num_speakers", *(("overlap",) if segmentation else ())),
                pieces=PIECES,
                segmentation="pyannote" if segmentation else "silero",
                clustering="average linkage",
            ),
        )

    async def diarize(self, samples: object, options: DiarizationOptions) -> Diarization:
        """Diarize int16 mono samples at 16 kHz; a cancelled call stops between two batches of the networks."""
        require_possible(options)
        whole = np.asarray(samples)
        piece = RecordingPiece(index=0, start=0, end=len(whole), samples_start=0, samples=None)

        def work(between: Between) -> Diarization:
            return self._tell_apart([self._fitting(whole, piece, between)], options)

        return await self._in_turn(work)

    async def hear(self, samples: object, piece: RecordingPiece) -> bytes:
        """Find the stretches of one voice in a piece, and embed them; a cancelled call stops as that of ``diarize``."""
        given = np.asarray(samples)
        return await self._in_turn(
            lambda between: pack_heard(self._fitting(given, piece, between), self._info.checkpoint_hash)
        )

    async def tell_apart(self, heard: Sequence[bytes], options: DiarizationOptions) -> Diarization:
        """Cluster what all pieces have left; memory grows by 3 KB a second of speech."""
        require_possible(options)
        return await self._in_turn(lambda _: self._tell_apart(unpack_heard(heard, self._info.checkpoint_hash), options))

    async def _in_turn(self, work: Callable[[Between], ResultT]) -> ResultT:
        abandoned = threading.Event()

        def stop_if_abandoned() -> None:
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

    def _fitting(self, samples: NDArray[np.int16], piece: RecordingPiece, between: Between) -> Arrays:
        """Hear a piece; where memory is short, with batches of half the size, for all that comes after it too."""
        while True:
            try:
                return self._hear(samples, piece, between)
            except (RuntimeError, ValueError, MemoryError) as error:
                if self._batch_size == 1 or not is_out_of_memory(error):
                    with model_errors("the diarization"):
                        raise
                self._batch_size //= 2

    def _hear(self, samples: NDArray[np.int16], piece: RecordingPiece, between: Between) -> Arrays:
        """Return windows, their vectors and overlaps of the piece alone, in samples from the recording's start."""
        between()
        stretches = self._find_stretches(samples, between)
        shift, own = piece.samples_start, (piece.start, piece.end)
        windows = [window for window in lay_windows(stretches.voices) if clipped(window.told, shift, own)]
        heard = [window.heard for window in windows]
        vectors = self._encoder.embed(samples, heard, self._batch_size, between) if heard else np.zeros((0, 0))
        overlaps = [span for span in (clipped(overlap, shift, own) for overlap in stretches.overlaps) if span]
        return {
            "heard": _table([(start + shift, end + shift) for start, end in heard], 2),
            "told": _table([clipped(window.told, shift, own) for window in windows], 2),
            "stretch": np.array([window.stretch for window in windows], dtype=np.int64),
            "vectors": vectors.astype(np.float32),
            "overlaps": _table(overlaps, 2),
        }

    def _find_stretches(self, samples: NDArray[np.int16], between: Between) -> Stretches:
        """Return the stretches of one voice, and where two speak at once."""
        if not samples.any():
            return Stretches(voices=(), overlaps=())
        if self._segmentation is None:
            return Stretches(voices=tuple(_hear_speech(samples, between)), overlaps=())
        how = self._speech
        scores = self._segmentation.segment(samples, self._batch_size, between)
        spans = active_spans(
            scores.speech,
            FRAME_SAMPLES,
            how.speech_on,
            how.speech_off,
            _samples(how.bridged_s),
            _samples(how.shortest_s),
        )
        voices = cut_at(spans, peaks(scores.change, FRAME_SAMPLES, how.change), _samples(how.shortest_stretch_s))
        overlaps = active_spans(
            scores.overlap, FRAME_SAMPLES, how.overlap, how.overlap, 0, _samples(how.shortest_overlap_s)
        )
        whole = ((start, min(end, len(samples))) for start, end in voices)
        return Stretches(voices=tuple(span for span in whole if span[0] < span[1]), overlaps=tuple(overlaps))

    def _tell_apart(self, pieces: Sequence[Arrays], options: DiarizationOptions) -> Diarization:
        """Cluster the windows' vectors, follow the voices through time, and name them."""
        windows = _windows(pieces)
        if not windows:
            return Diarization(turns=(), exclusive_turns=())
        vectors = np.concatenate([np.asarray(piece["vectors"]) for piece in pieces if len(piece["vectors"])])
        seconds = np.array([window.heard[1] - window.heard[0] for window in windows]) / SAMPLE_RATE_HZ
        long = seconds >= self._speech.clustered_s
        clear = vectors[long] if np.count_nonzero(long) >= _least(options) else vectors
        voices = find_voices(clear, _limits(options), self._clustering)
        weights = (seconds * (SAMPLE_RATE_HZ / WINDOW_SAMPLES)).tolist()
        stretches = [window.stretch for window in windows]
        labels = follow_voices(vectors, weights, stretches, voices, self._clustering)
        voices = refine_voices(vectors[long], labels[long], voices)
        labels = follow_voices(vectors, weights, stretches, voices, self._clustering)
        overlaps = [(int(start), int(end)) for piece in pieces for start, end in piece["overlaps"]]
        return tell(windows, [int(label) for label in labels], bridge(overlaps, 1))


def _windows(pieces: Sequence[Arrays]) -> list[Window]:
    """Return the windows of all pieces; a stretch that goes on over a border is one."""
    windows: list[Window] = []
    for piece in pieces:
        first = windows[-1].stretch + 1 if windows else 0
        joined = bool(windows) and len(piece["told"]) > 0 and windows[-1].told[1] == piece["told"][0][0]
        offset = first - joined - (int(piece["stretch"][0]) if len(piece["stretch"]) else 0)
        windows += [
            Window(
                heard=(int(heard[0]), int(heard[1])), told=(int(told[0]), int(told[1])), stretch=int(number) + offset
            )
            for heard, told, number in zip(piece["heard"], piece["told"], piece["stretch"], strict=True)
        ]
    return windows


def _table(rows: Sequence[object], width: int) -> NDArray[np.int64]:
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def _hear_speech(samples: NDArray[np.int16], between: Between) -> list[Span]:
    """Return Silero's spans; short pauses divide them, because a voice changes in a pause or not at all."""
    detector = SileroDetector(WindowingOptions(min_silence_duration_ms=100, speech_pad_ms=30))
    spans: list[TimeSpan] = []
    for first in range(0, len(samples), _BLOCK_SAMPLES):
        between()
        spans += detector.push(samples[first : first + _BLOCK_SAMPLES])
    spans += detector.finish()
    return [(_samples(span.start_s), min(_samples(span.end_s), len(samples))) for span in spans]


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ)


def _least(options: DiarizationOptions) -> int:
    return options.num_speakers or options.min_speakers or 1


def _limits(options: DiarizationOptions) -> SpeakerLimits:
    return SpeakerLimits(least=_least(options), most=options.num_speakers or options.max_speakers)
