"""A passage store in a folder that goes away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory

from pipelines.stores.qdrant.passages import QdrantPassageStore


@asynccontextmanager
async def temporary_store() -> AsyncIterator[QdrantPassageStore]:
    """Open an empty store; close it and remove its folder on the way out."""
    with TemporaryDirectory() as folder:
        store = await QdrantPassageStore.open(folder)
        try:
            yield store
        finally:
            await store.close()
