"""Settings reach the engines; heavy imports give way to everything else, and hand the ordinary priority back."""

import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from serve_app.metrics import NoMetrics
from serve_app.models import engines
from serve_app.models.engines import import_patiently
from serve_app.settings import ModelChoice, ModelSettings


async def nothing(module: str) -> None:
    """Stand in for a heavy import."""


@pytest.mark.parametrize(
    ("loaders", "backend", "engine"),
    [
        ("transcriber_loaders", "faster-whisper", "recognition.engines.faster_whisper.FasterWhisperTranscriber"),
        ("embedder_loaders", "bge", "retrieval.engines.bge.BgeEmbedder"),
        ("embedder_loaders", "minilm", "retrieval.engines.minilm.MiniLmEmbedder"),
        ("reranker_loaders", "bge-reranker", "retrieval.engines.reranker.BgeReranker"),
    ],
)
async def test_the_batch_size_of_the_settings_is_the_engine_s(
    loaders: str, backend: str, engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = await settings_of(loaders, backend, engine, ModelChoice(backend=backend, name="m"), monkeypatch, tmp_path)
    assert (given["batch_size"], given["cpu_threads" if "cpu_threads" in given else "threads"]) == (7, 3)


@pytest.mark.parametrize(("name", "native"), [("large-v3-turbo", True), ("asr-demo", False), ("unheard-of", False)])
async def test_a_recognizer_writes_punctuation_where_its_entry_in_the_catalogue_says_so(
    name: str, native: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whisper = "recognition.engines.faster_whisper.FasterWhisperTranscriber"
    choice = ModelChoice(backend="faster-whisper", name=name)
    given = await settings_of("transcriber_loaders", "faster-whisper", whisper, choice, monkeypatch, tmp_path)
    assert given["native_punctuation"] is native


async def settings_of(
    loaders: str, backend: str, engine: str, choice: ModelChoice, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> dict[str, Any]:
    """Return what the loader of ``backend`` gives the engine's ``load``."""
    given: dict[str, Any] = {}

    async def load(*_: object, **settings: Any) -> None:
        given.update(settings)

    monkeypatch.setattr(f"pipelines.{engine}.load", load)
    monkeypatch.setattr(engines, "import_patiently", nothing)
    metrics = (NoMetrics(),) if loaders == "transcriber_loaders" else ()
    made = getattr(engines, loaders)(ModelSettings(chain=(choice,), batch_size=7, threads=3), *metrics)
    await made[backend](choice, folder)
    return given


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities by thread")


@linux
async def test_an_import_runs_behind_everything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_library.py").write_text("import os\nNICE = os.getpriority(os.PRIO_PROCESS, 0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "heavy_library", raising=False)
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    await import_patiently("heavy_library")

    imported = sys.modules.pop("heavy_library")
    assert max(10, own) == imported.NICE
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


@linux
async def test_what_is_not_installed_is_left_to_the_engine() -> None:
    await import_patiently("a_library_that_is_not_installed")
    assert "a_library_that_is_not_installed" not in sys.modules
