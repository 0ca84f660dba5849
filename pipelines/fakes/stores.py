"""A store that behaves: artifacts in memory, with faults a test can switch on."""

import io
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from pipelines.errors import ArtifactNotFound, ArtifactStoreUnavailable
from pipelines.stores.artifacts import check_key

_CHUNK_BYTES = 1 << 20


class InMemoryArtifactStore:
    """Implements KeepsHouse with a dictionary."""

    def __init__(self) -> None:
        self.read_only = False
        """While True, every write and delete raises ArtifactStoreUnavailable, as a full or read-only disk does."""
        self.writes: list[str] = []
        """Keys in the order in which they were written, so that a test can see what was written twice."""
        self._data: dict[str, bytes] = {}

    async def write_stream(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        """Store chunks as they come."""
        check_key(key)
        self._require_writable()
        data = b"".join([chunk async for chunk in chunks])
        await self.write(key, data)
        return len(data)

    async def write(self, key: str, data: bytes) -> None:
        """Store ``data``."""
        check_key(key)
        self._require_writable()
        self._data[key] = bytes(data)
        self.writes.append(key)

    async def create(self, key: str, data: bytes) -> bool:
        """Store ``data`` where nothing is under the key."""
        if check_key(key) in self._data:
            return False
        await self.write(key, data)
        return True

    async def read(self, key: str) -> bytes:
        """Return the bytes."""
        return self._get(key)

    async def read_range(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes ``start`` to ``end`` (exclusive)."""
        data = self._get(key)[start:end]
        for position in range(0, len(data), _CHUNK_BYTES):
            yield data[position : position + _CHUNK_BYTES]

    async def size(self, key: str) -> int | None:
        """Return the size in bytes; None where the key does not exist."""
        data = self._data.get(check_key(key))
        return None if data is None else len(data)

    async def list_keys(self, prefix: str) -> tuple[str, ...]:
        """Return all keys below ``prefix``, sorted."""
        folder = check_key(prefix) + "/"
        return tuple(sorted(key for key in self._data if key.startswith(folder)))

    async def delete_tree(self, prefix: str) -> None:
        """Remove all keys below ``prefix``."""
        keys = await self.list_keys(prefix)
        self._require_writable()
        for key in keys:
            del self._data[key]

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Open for synchronous reading."""
        with io.BytesIO(self._get(key)) as file:
            yield file

    async def keys(self) -> tuple[str, ...]:
        """Return every key, sorted."""
        return tuple(sorted(self._data))

    async def age_s(self, key: str) -> float:
        """Everything is as old as this process, and that is new."""
        return 0.0

    async def sweep(self, *, older_than_s: float = 24 * 3600.0) -> int:
        """There are no unfinished writes."""
        return 0

    def _get(self, key: str) -> bytes:
        try:
            return self._data[check_key(key)]
        except KeyError:
            raise ArtifactNotFound("there is no such artifact") from None

    def _require_writable(self) -> None:
        if self.read_only:
            raise ArtifactStoreUnavailable("the artifact store does not write: Read-only file system")
