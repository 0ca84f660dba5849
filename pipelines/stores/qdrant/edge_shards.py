"""The shards of a folder, one a collection: loaded, made, removed, and freed of what was deleted.

A shard that cannot be loaded makes one collection unavailable, and says so once in the log.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import qdrant_edge as edge

from pipelines.errors import CollectionDamaged, PassageStoreUnavailable

logger = logging.getLogger(__name__)


_NOT_LOADED = (
    "this collection's files cannot be loaded, and the server's log says why: where they are damaged, put its folder "
    "back from a backup, or delete the collection"
)
RESERVE_BYTES = 256 * 1024 * 1024
"""What stays free: more than one batch of passages and the first files of a shard take."""


class EnginePanic(Exception):
    """The engine gave up on a call (a panic in Rust): its files are damaged, or it has a fault.

    Python sees no Exception but what would end a process.
    """


@contextmanager
def panic_as_error() -> Iterator[None]:
    """Raise EnginePanic for it; its own class, PanicException, cannot be imported."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise EnginePanic(str(error)) from error


def free_bytes(folder: Path) -> int:
    """Measure what is free for this process."""
    return shutil.disk_usage(folder).free


class DiskRoom:
    """Refuses a write while it can still be refused.

    Qdrant Edge writes through memory maps of sparse files: where the disk is full, the kernel ends the process (SIGBUS)
    instead of saying so.
    """

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


def _allocated_bytes(folder: Path) -> int:
    """Measure what a folder takes on the disk, which is less than its sparse files say."""
    return sum(found.lstat().st_blocks * 512 for found in folder.rglob("*"))


class EdgeShards:
    """Shards by the name of their collection."""

    def __init__(self, folder: Path, room: DiskRoom) -> None:
        self._folder = folder
        self._room = room
        self._loaded: dict[str, edge.EdgeShard] = {}
        self._unclean: set[str] = set()
        """Shards whose files hold words that were deleted."""

    def load(self, name: str) -> None:
        """Load a shard and finish an erasure that broke off; one that cannot be is unavailable from now on."""
        try:
            with panic_as_error():
                shard = edge.EdgeShard.load(str(self._folder / name))
        except Exception:  # the engine's errors have no class of their own
            logger.exception("the shard %s cannot be loaded: its collection is unavailable", self._folder / name)
            return
        self._loaded[name] = shard
        self._unclean.add(name)  # cleaning has nothing to do, at no cost, but after a kill

    def get(self, name: str) -> edge.EdgeShard:
        """Return a shard. Raises CollectionDamaged where it could not be loaded."""
        if name not in self._loaded:
            raise CollectionDamaged(_NOT_LOADED)
        return self._loaded[name]

    def create(self, name: str, config: edge.EdgeConfig) -> edge.EdgeShard:
        """Make a shard's files; ``adopt`` makes it known. Raises PassageStoreUnavailable where the disk is full."""
        self._room.require()
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed
        folder.mkdir()
        shard = edge.EdgeShard.create(str(folder), config)
        shard.flush()
        return shard

    def adopt(self, name: str, shard: edge.EdgeShard) -> None:
        """Take a shard that was created."""
        self._loaded[name] = shard

    def discard(self, name: str) -> None:
        """Remove the files of a creation that failed."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Close a shard and remove its files."""
        self._unclean.discard(name)
        shard = self._loaded.pop(name, None)
        if shard is not None:
            shard.close()
        with suppress(FileNotFoundError):
            shutil.rmtree(self._folder / name)

    def write(self, name: str, operation: edge.UpdateOperation) -> None:
        """Write what takes room; it is on the disk when this returns. Raises PassageStoreUnavailable for a full one."""
        shard = self.get(name)
        self._room.require()
        shard.update(operation)
        shard.flush()

    def erase(self, name: str, condition: edge.Filter) -> None:
        """Delete points; their words leave the files with the next ``clean``.

        The engine only marks points as deleted; it drops them when it writes the rest of the shard anew. That takes
        0.4 s, for 20,000 passages 2.3 s and for 60,000 6 s, in which this process does nothing else (the engine keeps
        Python's lock): a hundred jobs that are erased one after the other must not cost it a hundred times. Raises
        PassageStoreUnavailable where there is no room for it, before anything is deleted.
        """
        shard = self.get(name)
        if shard.count(edge.CountRequest(filter=condition, exact=True)):
            self._require_room_for_copy(name)
            self._unclean.add(name)
            shard.update(edge.UpdateOperation.delete_points_by_filter(condition))
            shard.flush()

    @property
    def unclean(self) -> bool:
        """Some files hold words that were deleted."""
        return bool(self._unclean)

    def clean(self) -> None:
        """Write the shards anew that hold deleted words; a failure is logged, and left to the next time."""
        for name in sorted(self._unclean):
            try:
                with panic_as_error():
                    self._clean(name)
            except Exception:
                logger.warning("what was deleted from %s is still in its files", self._folder / name, exc_info=True)

    def close(self) -> None:
        """Close all shards."""
        for name, shard in self._loaded.items():
            try:
                with panic_as_error():
                    shard.close()
            except Exception:
                logger.warning("the shard %s cannot be closed", self._folder / name, exc_info=True)
        self._loaded = {}

    def _clean(self, name: str) -> None:
        if name not in self._unclean:
            return
        self._require_room_for_copy(name)
        self._loaded[name].optimize()
        self._loaded[name].flush()  # removes the files that optimize replaced
        self._unclean.discard(name)

    def _require_room_for_copy(self, name: str) -> None:
        self._room.require(_allocated_bytes(self._folder / name))
