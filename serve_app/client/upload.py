"""A file that says how much of it has been read, so that an upload can show its progress."""

from collections.abc import Callable
from typing import IO, BinaryIO, cast

Progress = Callable[[int, int], None]
"""Called with bytes sent and bytes in all."""


class MeteredFile:
    """Reads like the file it wraps, and reports each read."""

    def __init__(self, file: BinaryIO, on_read: Progress) -> None:
        """Wrap an open file; the caller closes it."""
        self._file = file
        self._on_read = on_read
        self._size = file.seek(0, 2)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Read on and report."""
        data = self._file.read(size)
        self._on_read(self._file.tell(), self._size)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, as a request that is sent again does."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return where reading stands."""
        return self._file.tell()

    def fileno(self) -> int:
        """Return the descriptor, by which httpx learns the length."""
        return self._file.fileno()


def metered(file: BinaryIO, on_read: Progress | None) -> IO[bytes]:
    """Return a file for httpx, reporting when asked to."""
    return file if on_read is None else cast(IO[bytes], MeteredFile(file, on_read))
