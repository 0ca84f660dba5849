"""Where recordings and what came of them lie."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol, runtime_checkable


class ArtifactStore(Protocol):
    """Bytes under keys of the form ``tenant/job/name``. Raises ArtifactStoreUnavailable throughout.

    A write becomes visible whole or not at all; writing a key again replaces it.
    """

    async def write_stream(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        """Store chunks as they arrive in bounded memory; return the byte count. If ``chunks`` raises, nothing stays."""
        ...

    async def write(self, key: str, data: bytes) -> None:
        """Store ``data``."""
        ...

    async def create(self, key: str, data: bytes) -> bool:
        """Store ``data`` where nothing is under the key, and say so; of those who try at once, one succeeds."""
        ...

    async def read(self, key: str) -> bytes:
        """Return the bytes. Raises ArtifactNotFound."""
        ...

    def read_range(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes ``start`` (inclusive) to ``end`` (exclusive) in chunks. Raises ArtifactNotFound at the first."""
        ...

    async def size(self, key: str) -> int | None:
        """Return the size in bytes; None where the key does not exist."""
        ...

    async def list_keys(self, prefix: str) -> tuple[str, ...]:
        """Return all keys below ``prefix`` (a folder), sorted."""
        ...

    async def delete_tree(self, prefix: str) -> None:
        """Remove all keys below ``prefix``; a no-op where there are none."""
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open for synchronous, seekable reading inside a thread or task. Raises ArtifactNotFound."""
        ...


@runtime_checkable
class KeepsHouse(ArtifactStore, Protocol):
    """An ArtifactStore that also knows what it holds and since when. Raises ArtifactStoreUnavailable throughout."""

    async def keys(self) -> tuple[str, ...]:
        """Return every key of the store, sorted."""
        ...

    async def age_s(self, key: str) -> float:
        """Return the seconds since a key was written; 0 where it is gone."""
        ...

    async def sweep(self, *, older_than_s: float = 24 * 3600.0) -> int:
        """Remove what killed processes left of unfinished writes; return how many."""
        ...
