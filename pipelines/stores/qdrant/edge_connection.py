"""Qdrant in this process, in a folder with one owner: the engine of its server behind the same seam as a server.

qdrant-client's own local mode scans in Python: 45 ms of processor time for the two queries of a search among 5,000
passages and 178 among 20,000, where this takes 7 and 10 (bench/README.md).
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.errors import PassageStoreUnavailable
from pipelines.stores.qdrant.edge_engine import EdgeEngine
from pipelines.stores.qdrant.edge_shards import EnginePanic, free_bytes, panic_as_error

CLEAN_PAUSE_S = 10.0
"""After so long without a deletion the files are freed of deleted words; after six times as long in any case."""
_LONGEST_PAUSES = 6


class EdgeConnection:
    """Implements Connection over a folder. All calls queue for one thread.

    Each is a few milliseconds long, but for freeing a collection's files of deleted words (``EdgeShards.erase``):
    that is put off until deletions pause, so that many of them cost it once.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        measure: Callable[[Path], int] = free_bytes,
        pause_s: float = CLEAN_PAUSE_S,
    ) -> None:
        """Take a folder; the first call opens and locks it. ``measure`` says how many bytes are free."""
        self._folder = Path(folder)
        self._open = partial(EdgeEngine, self._folder, measure=measure)
        self._pause_s = pause_s
        self.cleaning: asyncio.Task[None] | None = None
        """Frees the files of what was deleted, once deletions pause."""
        self._deleted_at = 0.0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qdrant")
        self._engine: EdgeEngine | None = None
        self._closed = False

    async def call(self, method: str, **arguments: Any) -> Any:
        """Run the method in the one thread."""
        if self._closed:
            raise PassageStoreUnavailable("the vector store is closed")
        answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._run, method, arguments)
        if method == "delete" and self._engine is not None and self._engine.unclean:
            self._clean_later()
        return answer

    async def close(self) -> None:
        """Wait for the call under way, then unlock the folder."""
        self._closed = True
        if self.cleaning is not None:
            self.cleaning.cancel()
            await asyncio.gather(self.cleaning, return_exceptions=True)
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await asyncio.get_running_loop().run_in_executor(self._thread, engine.close)
        self._thread.shutdown(wait=False)

    def _run(self, method: str, arguments: dict[str, Any]) -> Any:
        with _translated():
            if self._engine is None:
                self._engine = self._open()
            return getattr(self._engine, method)(**arguments)

    def _clean_later(self) -> None:
        self._deleted_at = asyncio.get_running_loop().time()
        if self.cleaning is None or self.cleaning.done():
            self.cleaning = asyncio.create_task(self._clean_when_quiet())

    async def _clean_when_quiet(self) -> None:
        """Wait until nothing was deleted for a while, but not for long; what a kill leaves, the next opening does."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + _LONGEST_PAUSES * self._pause_s
        while (quiet_at := min(self._deleted_at + self._pause_s, latest)) > loop.time():  # noqa: ASYNC110 (a time)
            await asyncio.sleep(quiet_at - loop.time())
        await loop.run_in_executor(self._thread, self._run, "clean", {})


@contextmanager
def _translated() -> Iterator[None]:
    try:
        with panic_as_error():
            yield
    except Exception as error:
        # The engine's own errors have no class of their own; anything else is a fault of ours and stays what it is.
        if type(error) is Exception or isinstance(error, OSError | ValueError | EnginePanic):
            raise PassageStoreUnavailable("the embedded vector store failed") from error
        raise
