"""Artifacts in a folder, or in anything fsspec speaks to (``s3://``, ``gs://``, ``memory://`` …)."""

import asyncio
import os
import re
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipelines.errors import ArtifactNotFound, ArtifactStoreUnavailable, InvalidRequest, RayScribeError

_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 10
_PARTIAL = ".partial"
"""Folder of writes under way. No key can name it, because no part of a key begins with a dot."""


class FsspecArtifactStore:
    """Implements ArtifactStore. Picklable, so that a Ray task can open what a deployment wrote.

    A write is spooled into a temporary file and then published at once: by rename within a folder, by one upload to an
    object store. Whoever is killed in between leaves a file that nobody sees and that ``sweep`` removes.
    """

    def __init__(self, root: str) -> None:
        """Take a folder's path or an fsspec URL; a folder is created by the first write."""
        # No cached listings: other processes write here too.
        files, path = fsspec.core.url_to_fs(root, use_listings_cache=False)
        self._files: Any = files
        self._root = str(path).rstrip("/")
        self._is_folder = isinstance(files, LocalFileSystem)

    async def write_stream(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        """Spool chunks as they come, at most about a mebibyte in memory, then publish. Returns the byte count."""
        check_key(key)
        spool = await asyncio.to_thread(self._open_spool)
        try:
            count = 0
            async for block in _joined(chunks):
                await asyncio.to_thread(_append, spool, block)
                count += len(block)
            await asyncio.to_thread(self._publish, spool, key)
        finally:
            await asyncio.to_thread(_discard, spool)
        return count

    async def write(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``."""
        check_key(key)
        await asyncio.to_thread(self._write, key, data)

    async def create(self, key: str, data: bytes) -> bool:
        """Store ``data`` where nothing is: by a hard link in a folder, by a conditional upload elsewhere."""
        check_key(key)
        return await asyncio.to_thread(self._create, key, data)

    async def read(self, key: str) -> bytes:
        """Return the bytes."""
        check_key(key)
        return await asyncio.to_thread(self._read, key)

    async def read_range(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes ``start`` to ``end`` (exclusive) in chunks of at most a mebibyte."""
        check_key(key)
        file = await asyncio.to_thread(self._open_reading, key)
        try:
            while start < end:
                chunk = await asyncio.to_thread(_read_at, file, start, min(_CHUNK_BYTES, end - start))
                if not chunk:
                    return
                yield chunk
                start += len(chunk)
        finally:
            await asyncio.to_thread(file.close)

    async def size(self, key: str) -> int | None:
        """Return the size in bytes; None where the key does not exist."""
        check_key(key)
        return await asyncio.to_thread(self._size, key)

    async def list_keys(self, prefix: str) -> tuple[str, ...]:
        """Return all keys below the folder ``prefix``, sorted."""
        check_key(prefix)
        return await asyncio.to_thread(self._list_keys, prefix)

    async def delete_tree(self, prefix: str) -> None:
        """Remove the folder ``prefix`` and all keys below it."""
        check_key(prefix)
        await asyncio.to_thread(self._delete_tree, prefix)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Open for synchronous, seekable reading; ``ArtifactNotFound`` before the first byte."""
        check_key(key)
        file = self._open_reading(key)
        try:
            yield cast(BinaryIO, file)
        finally:
            file.close()

    async def keys(self) -> tuple[str, ...]:
        """Return every key of the store, sorted: for housekeeping, not for a request."""
        return tuple(key for key in await asyncio.to_thread(self._list_keys, "") if not key.startswith(_PARTIAL))

    async def age_s(self, key: str) -> float:
        """Return the seconds since a key was written; 0 where it is gone."""
        check_key(key)
        return await asyncio.to_thread(self._age_s, key)

    async def sweep(self, *, older_than_s: float = 24 * 3600.0) -> int:
        """Remove what killed processes left of unfinished writes; return how many files."""
        return await asyncio.to_thread(self._sweep, older_than_s)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _spool_folder(self) -> Path:
        return Path(self._root) / _PARTIAL if self._is_folder else Path(tempfile.gettempdir())

    def _open_spool(self) -> IO[bytes]:
        with _translated("write"):
            folder = self._spool_folder()
            folder.mkdir(parents=True, exist_ok=True)
            # Not a context manager: published or discarded by whoever asked for it.
            return tempfile.NamedTemporaryFile(dir=folder, prefix="rayscribe-", delete=False)

    def _publish(self, spool: IO[bytes], key: str) -> None:
        with _translated("write"):
            spool.flush()
            if self._is_folder:
                os.fsync(spool.fileno())
                self._move_in(Path(spool.name), Path(self._path(key)))
            else:
                self._files.put_file(spool.name, self._path(key))

    def _move_in(self, written: Path, place: Path) -> None:
        """Make the folder and rename into it, again where a deletion beside it has found that folder empty."""
        for attempt in range(_ATTEMPTS):
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                written.replace(place)
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1 or not written.exists():
                    raise
            else:
                return

    def _write(self, key: str, data: bytes) -> None:
        if not self._is_folder:
            with _translated("write"):
                self._files.pipe_file(self._path(key), data)
            return
        spool = self._open_spool()
        try:
            _append(spool, data)
            self._publish(spool, key)
        finally:
            _discard(spool)

    def _create(self, key: str, data: bytes) -> bool:
        if self._is_folder:
            return self._link_in(key, data)
        with _translated("write"):
            try:
                self._files.pipe_file(self._path(key), data, mode="create")
            except FileExistsError:
                return False
        return True

    def _link_in(self, key: str, data: bytes) -> bool:
        spool, place = self._open_spool(), Path(self._path(key))
        try:
            _append(spool, data)
            with _translated("write"):
                spool.flush()
                os.fsync(spool.fileno())
                place.parent.mkdir(parents=True, exist_ok=True)
                try:
                    place.hardlink_to(spool.name)
                except FileExistsError:
                    return False
            return True
        finally:
            _discard(spool)

    def _read(self, key: str) -> bytes:
        with _translated("read"):
            return cast(bytes, self._files.cat_file(self._path(key)))

    def _open_reading(self, key: str) -> IO[bytes]:
        with _translated("read"):
            return cast(IO[bytes], self._files.open(self._path(key), "rb"))

    def _size(self, key: str) -> int | None:
        with suppress(ArtifactNotFound), _translated("read"):
            info = self._files.info(self._path(key))
            return cast(int, info["size"]) if info["type"] == "file" else None
        return None

    def _list_keys(self, prefix: str) -> tuple[str, ...]:
        with _translated("list"):
            paths = self._files.find(self._path(prefix))
        return tuple(sorted(str(path).removeprefix(self._root).lstrip("/") for path in paths))

    def _age_s(self, key: str) -> float:
        with suppress(ArtifactNotFound), _translated("list"):
            return time.time() - float(self._files.modified(self._path(key)).timestamp())
        return 0.0

    def _delete_tree(self, prefix: str) -> None:
        with suppress(ArtifactNotFound), _translated("delete"):
            self._files.rm(self._path(prefix), recursive=True)
        if self._is_folder:
            self._remove_empty_parents(prefix)

    def _remove_empty_parents(self, prefix: str) -> None:
        """Leave no empty folder; the tenant's own stays, because another upload may be about to use it."""
        for parent in list(PurePosixPath(prefix).parents)[:-2]:
            with suppress(OSError):
                Path(self._path(str(parent))).rmdir()

    def _sweep(self, older_than_s: float) -> int:
        removed = 0
        limit = time.time() - older_than_s
        with _translated("delete"):
            for path in self._spool_folder().glob("rayscribe-*"):
                if path.is_file() and path.stat().st_mtime < limit:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed


async def _joined(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join small chunks: a thread is entered once a mebibyte, not once a network read."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        if len(held) >= _CHUNK_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def _append(spool: IO[bytes], block: bytes) -> None:
    with _translated("write"):
        spool.write(block)


def _read_at(file: IO[bytes], position: int, count: int) -> bytes:
    with _translated("read"):
        file.seek(position)
        return file.read(count)


def _discard(spool: IO[bytes]) -> None:
    """Close and remove the spool; after a rename within a folder there is nothing left to remove."""
    with suppress(OSError):  # closing flushes: on a full disk that fails again, and has been reported
        spool.close()
    with suppress(OSError):
        Path(spool.name).unlink(missing_ok=True)


@contextmanager
def _translated(verb: str) -> Iterator[None]:
    try:
        yield
    except RayScribeError:
        raise
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        if verb == "write":
            raise ArtifactStoreUnavailable("the artifact store cannot be written") from error
        raise ArtifactNotFound("there is no such artifact") from error
    except Exception as error:  # each back end of fsspec (S3, GCS, …) raises its own besides OSError
        raise ArtifactStoreUnavailable(f"the artifact store does not {verb}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Name the system's reason without the path that ``str(error)`` would carry."""
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__


_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MAX_DEPTH = 8


def check_key(key: str) -> str:
    """Return ``key`` if it is ``part/part/…`` of plain characters; a part never begins with a dot or a hyphen.

    Nothing that a file system, a URL or a shell gives a meaning to gets through (``..``, ``/x``, ``a//b``, ``C:``,
    ``\\``, NUL, ``%2e``, ``~``), whatever names clients choose. Raises InvalidRequest.
    """
    parts = key.split("/")
    if len(parts) > _MAX_DEPTH or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidRequest("this is not the name of an artifact")
    return key
