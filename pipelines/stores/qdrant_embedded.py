"""Qdrant in this process, in a folder with one owner: the engine of its server behind the same seam as a server.

qdrant-client's own local mode scans in Python: 45 ms of processor time for the two queries of a search among 5,000
passages and 178 among 20,000, where this takes 7 and 10 (bench/README.md).
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import PassageStoreUnavailable
from pipelines.stores.embedded_qdrant import EmbeddedQdrant
from pipelines.stores.qdrant_migration import move_from_local_mode


class EmbeddedConnection:
    """Implements Connection over a folder. All calls queue for one thread, each a few milliseconds long."""

    def __init__(self, folder: Path | str) -> None:
        """Take a folder; the first call opens and locks it."""
        self._folder = Path(folder)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qdrant")
        self._engine: EmbeddedQdrant | None = None
        self._closed = False

    async def call(self, method: str, **arguments: Any) -> Any:
        """Run the method in the one thread."""
        if self._closed:
            raise PassageStoreUnavailable("the vector store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, method, arguments)

    async def close(self) -> None:
        """Wait for the call under way, then unlock the folder."""
        self._closed = True
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await asyncio.get_running_loop().run_in_executor(self._thread, engine.close)
        self._thread.shutdown(wait=False)

    def _run(self, method: str, arguments: dict[str, Any]) -> Any:
        with _translated():
            if self._engine is None:
                self._engine = open_folder(self._folder)
            return getattr(self._engine, method)(**arguments)


def open_folder(folder: Path) -> EmbeddedQdrant:
    """Lock and load a folder, and bring over what qdrant-client's local mode had written there."""
    engine = EmbeddedQdrant(folder)
    try:
        move_from_local_mode(folder, engine)
    except BaseException:
        engine.close()
        raise
    return engine


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # The engine's own errors have no class of their own; anything else is a fault of ours and stays what it is.
        if type(error) is Exception or isinstance(error, OSError | ValueError):
            raise PassageStoreUnavailable("the embedded vector store failed") from error
        raise
