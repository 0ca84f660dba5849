"""Room on a disk, asked for before it is needed.

Qdrant Edge writes through memory maps of sparse files: where the disk is full, the kernel ends the process (SIGBUS)
instead of saying so.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from pipelines.errors import PassageStoreUnavailable

RESERVE_BYTES = 256 * 1024 * 1024
"""What stays free: more than one batch of passages and the first files of a shard take."""


def free_bytes(folder: Path) -> int:
    """Measure what is free for this process."""
    return shutil.disk_usage(folder).free


class DiskRoom:
    """Refuses a write while it can still be refused."""

    def __init__(self, folder: Path, measure: Callable[[Path], int] = free_bytes) -> None:
        self._folder = folder
        self._measure = measure

    def require(self, more_bytes: int = 0) -> None:
        """Raise PassageStoreUnavailable unless this much is free beside the reserve."""
        lacking = RESERVE_BYTES + more_bytes - self._measure(self._folder)
        if lacking > 0:
            raise PassageStoreUnavailable(
                f"the disk of the vector store is full: free at least {lacking // 1_000_000 + 1} MB and try again"
            )


def allocated_bytes(folder: Path) -> int:
    """Measure what a folder takes on the disk, which is less than its sparse files say."""
    return sum(found.lstat().st_blocks * 512 for found in folder.rglob("*"))
