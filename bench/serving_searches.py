"""The application on real Ray, with fakes for all models but the embedder, over a collection made beforehand."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from bench.serving_floor import floor_application
from bench.synthetic_passages import fill
from pipelines.domain.model import EmbedderInfo
from pipelines.stores.qdrant.passages import QdrantPassageStore
from serve_app.laptop.launch import LOCAL_CONFIG, RunningApplication, serving

_FAKE = {"chain": [{"backend": "fake", "name": "scripted"}]}
EMBEDDER_THREADS = 1
_MINILM = {"chain": [{"backend": "minilm", "name": "all-MiniLM-L6-v2"}], "threads": EMBEDDER_THREADS}


def fill_folder(folder: Path, count: int, info: EmbedderInfo) -> None:
    """Make the collection in the application's data folder, and a copy of it beside, for the direct use."""

    async def write() -> None:
        store = await QdrantPassageStore.open(folder / "data" / "qdrant")
        try:
            await fill(store, count, info)
        finally:
            await store.close()

    (folder / "data").mkdir(parents=True)
    asyncio.run(write())
    shutil.copytree(folder / "data" / "qdrant", folder / "copy")


@contextmanager
def searching_application(folder: Path, **arguments: Any) -> Iterator[RunningApplication]:
    """Serve what ``fill_folder`` made; ``arguments`` replace settings of the local profile."""
    document = yaml.safe_load(LOCAL_CONFIG.read_text())
    models = {"transcriber": _FAKE, "diarizer": _FAKE, "embedder": _MINILM, "audio": {"detector": "scripted"}}
    document["applications"][0]["args"].update(models | arguments)
    document["applications"].append(floor_application())
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(document))
    print("  starting the application", flush=True)
    with serving(config, port=0, data=folder / "data", whole=True) as application:
        yield application
