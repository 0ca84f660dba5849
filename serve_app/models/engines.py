"""Which backend name of a model chain loads which engine. The only list of engines."""

import asyncio
import importlib
import os
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from pipelines.batching import BatchStatistics
from pipelines.domain.model import ModelRole
from pipelines.errors import ModelUnavailable
from pipelines.fakes.models import FakeDiarizer, FakeEmbedder, FakeTranscriber
from pipelines.fakes.passages import FakeReranker
from pipelines.fakes.rehearsal import Rehearsal
from pipelines.ports.models import Diarizer, Embedder, Reranker, Transcriber
from serve_app.metrics import MetricsSink, NoMetrics
from serve_app.models.catalogue import find
from serve_app.models.chain import Loader, require_backend, require_folder
from serve_app.settings import ModelChoice, ModelSettings, Settings


def transcriber_loaders(settings: ModelSettings, metrics: MetricsSink) -> dict[str, Loader[Transcriber]]:
    """Return the loaders of speech recognizers."""

    async def faster_whisper(choice: ModelChoice, path: Path) -> Transcriber:
        from pipelines.recognition.engines.faster_whisper import FasterWhisperTranscriber

        return await FasterWhisperTranscriber.load(
            require_folder(path),
            name=choice.name,
            device=choice.device,
            compute_type=choice.compute_type,
            cpu_threads=settings.threads,
            batch_size=settings.batch_size,
            native_punctuation=writes_punctuation(choice.name),
            margin_s=None if choice.full_context else choice.context_margin_s,
            demo=choice.demo,
            on_batch=lambda batch: _measure_batch(batch, metrics),
        )

    async def fake(choice: ModelChoice, path: Path) -> Transcriber:
        return FakeTranscriber(_rehearsal(choice, path))

    return {"faster-whisper": faster_whisper, "fake": fake}


def diarizer_loaders(settings: ModelSettings) -> dict[str, Loader[Diarizer]]:
    """Return the loaders of diarization pipelines."""

    async def pyannote(choice: ModelChoice, path: Path) -> Diarizer:
        from pipelines.speakers.engines.pyannote import PyannoteDiarizer

        folder = require_folder(path)
        await import_patiently("pyannote.audio")
        return await PyannoteDiarizer.load(
            folder,
            name=choice.name,
            device=torch_device(choice),
            threads=settings.threads,
            step_s=choice.segmentation_step_s,
        )

    async def ge2e(choice: ModelChoice, path: Path) -> Diarizer:
        from pipelines.speakers.engines.ge2e import Ge2eDiarizer

        return await Ge2eDiarizer.load(
            require_folder(path),
            name=choice.name,
            device=torch_device(choice),
            threads=settings.threads,
            fast=choice.backend == "ge2e-fast",
        )

    async def fake(choice: ModelChoice, path: Path) -> Diarizer:
        return FakeDiarizer(_rehearsal(choice, path))

    return {"pyannote": pyannote, "ge2e": ge2e, "ge2e-fast": ge2e, "fake": fake}


def embedder_loaders(settings: ModelSettings) -> dict[str, Loader[Embedder]]:
    """Return the loaders of embedding models."""

    async def bge(choice: ModelChoice, path: Path) -> Embedder:
        from pipelines.retrieval.engines.bge import BgeEmbedder

        folder = require_folder(path)
        await import_patiently("FlagEmbedding")
        return await BgeEmbedder.load(
            folder,
            name=choice.name,
            device=torch_device(choice),
            threads=settings.threads,
            batch_size=settings.batch_size,
        )

    async def minilm(choice: ModelChoice, path: Path) -> Embedder:
        from pipelines.retrieval.engines.minilm import MiniLmEmbedder

        await import_patiently("FlagEmbedding")
        return await MiniLmEmbedder.load(
            device=torch_device(choice), threads=settings.threads, batch_size=settings.batch_size
        )

    async def fake(choice: ModelChoice, path: Path) -> Embedder:
        return FakeEmbedder(_rehearsal(choice, path))

    return {"bge": bge, "minilm": minilm, "fake": fake}


def reranker_loaders(settings: ModelSettings) -> dict[str, Loader[Reranker]]:
    """Return the loaders of rerankers."""

    async def bge_reranker(choice: ModelChoice, path: Path) -> Reranker:
        from pipelines.retrieval.engines.reranker import BgeReranker

        return await BgeReranker.load(
            require_folder(path),
            name=choice.name,
            device=torch_device(choice),
            threads=settings.threads,
            batch_size=settings.batch_size,
        )

    async def fake(choice: ModelChoice, path: Path) -> Reranker:
        return FakeReranker()

    return {"bge-reranker": bge_reranker, "fake": fake}


def writes_punctuation(name: str) -> bool:
    """Say whether the catalogue knows a recognizer of this name as one whose text reads well as it is."""
    entry = find(name)
    return entry is not None and entry.native_punctuation


def check_backends(settings: Settings) -> None:
    """Raise InvalidRequest for a chain that names an engine which its role does not have."""
    known: dict[ModelRole, tuple[ModelSettings, Collection[str]]] = {
        "asr": (settings.transcriber, transcriber_loaders(settings.transcriber, NoMetrics())),
        "diarizer": (settings.diarizer, diarizer_loaders(settings.diarizer)),
        "embedder": (settings.embedder, embedder_loaders(settings.embedder)),
        "reranker": (settings.reranker, reranker_loaders(settings.reranker)),
    }
    for role, (models, backends) in known.items():
        for choice in models.chain:
            require_backend(role, choice, backends)


def torch_device(choice: ModelChoice) -> str:
    """Return ``cpu`` or ``cuda``. Raises ModelUnavailable where a GPU is asked for and there is none."""
    if choice.device == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if choice.device == "cuda":
        raise ModelUnavailable("no GPU can be used here")
    return "cpu"


def _measure_batch(batch: BatchStatistics, metrics: MetricsSink) -> None:
    metrics.observe("window_batch_fill", batch.items / batch.batch_size)
    metrics.observe("window_batch_seconds", batch.run_s)
    metrics.set("windows_waiting", batch.waiting)
    if batch.out_of_memory:
        metrics.count("fallbacks", stage="transcribe", used="a smaller batch")


def _rehearsal(choice: ModelChoice, path: Path) -> Rehearsal:
    """A fake's ``path`` is the folder through which a test watches and holds it."""
    return Rehearsal(path if choice.path else None)


_BEHIND = 10
"""Nice value of the importing thread: about a tenth of the processor time of an ordinary one."""


async def import_patiently(module: str) -> None:
    """Import ``module`` in a thread of low priority, where the system has priorities by thread (Linux).

    The thread ends with the import: what is computed afterwards runs at the ordinary priority. What cannot be imported
    is left to the engine, which says why.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def work() -> None:
        try:
            _step_back()
            with suppress(ImportError):
                importlib.import_module(module)
        finally:
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=work, name="patient-import", daemon=True).start()
    await ended.wait()


def _step_back() -> None:
    # On Linux a nice value belongs to a thread; elsewhere it would slow the whole process, for good.
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(_BEHIND, os.getpriority(os.PRIO_PROCESS, thread)))
