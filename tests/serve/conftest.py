"""Real Ray Serve on this machine: one private Ray a module, engines as its configuration says."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Passage
from pipelines.fakes.models import FakeEmbedder
from pipelines.retrieval.passages import passage_id
from pipelines.stores.qdrant.passages import QdrantPassageStore
from serve_app.laptop.launch import LOCAL_CONFIG, RunningApplication, serving
from serve_app.laptop.private_ray import private_ray
from serve_app.remote.language_model import build_language_model
from serve_app.settings import Settings

FAKE_MODELS = {
    "audio": {"detector": "scripted"},
    "transcriber": {"chain": [{"backend": "fake", "name": "scripted"}]},
    "diarizer": {"chain": [{"backend": "fake", "name": "scripted"}]},
    "embedder": {"chain": [{"backend": "fake", "name": "bag-of-words"}]},
}


def write_config(path: Path, arguments: dict[str, Any]) -> Path:
    """Write the local profile's config with other arguments to ``path``."""
    document = yaml.safe_load(LOCAL_CONFIG.read_text())
    document["applications"][0]["args"].update(arguments)
    path.write_text(yaml.safe_dump(document))
    return path


FOREIGN_COLLECTION = "minutes"
"""There from the start, with vectors of a model that is not loaded: as after a change of embedder."""
FOREIGN_TEXTS = ("the budget was approved in march", "the warehouse is painted in june", "nobody asked about the cat")


class ForeignEmbedder(FakeEmbedder):
    """A model of which the application knows nothing."""

    vector_size = 32

    async def info(self) -> EmbedderInfo:
        return replace(await super().info(), name="foreign")


async def _leave_foreign_collection(folder: Path) -> None:
    embedder, passages = ForeignEmbedder(), []
    for position, text in enumerate(FOREIGN_TEXTS):
        passages.append(
            Passage(
                passage_id=passage_id("default", FOREIGN_COLLECTION, "job-1", position),
                job_id="job-1",
                recording="minutes.wav",
                position=position,
                start_s=10.0 * position,
                end_s=10.0 * position + 8.0,
                speakers=("SPEAKER_00",),
                language="en",
                text=text,
            )
        )
    store = await QdrantPassageStore.open(folder)
    await store.ensure_collection("default", FOREIGN_COLLECTION, await embedder.info())
    vectors = await embedder.embed_passages(FOREIGN_TEXTS)
    await store.upsert("default", FOREIGN_COLLECTION, passages, vectors, embedder=await embedder.info())
    await store.close()


@pytest.fixture(scope="module")
def fake_application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApplication]:
    """The whole application with fake engines behind real HTTP, Ray tasks, DBOS, Qdrant and files."""
    folder = tmp_path_factory.mktemp("fake-application")
    asyncio.run(_leave_foreign_collection(folder / "data" / "qdrant"))
    with serving(write_config(folder / "config.yaml", FAKE_MODELS), port=0, data=folder / "data") as application:
        yield application


@pytest.fixture
def client(fake_application: RunningApplication) -> Iterator[httpx.Client]:
    """A client of the application with fakes."""
    with httpx.Client(base_url=fake_application.url, timeout=60.0) as client:
        yield client


@contextmanager
def served_language_model(settings: Settings) -> Iterator[Any]:
    """Yield the handle of the language model's deployment, alone on a private Ray without HTTP."""
    from ray import serve

    # Replicas inherit the environment: the project is found wherever the tests were started.
    environment = pytest.MonkeyPatch()
    root = str(Path(__file__).resolve().parent.parent.parent)
    environment.setenv("PYTHONPATH", os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), root])))
    environment.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    with private_ray(verbose=False, pretended_gpus=0):
        serve.start(http_options={"location": "NoServer"})
        yield serve.run(build_language_model(settings), name="language-model", route_prefix=None)
        serve.shutdown()  # type: ignore[no-untyped-call]
    environment.undo()
