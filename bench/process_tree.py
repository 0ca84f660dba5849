"""Memory and processor time of this process's children, all of them: what an application on this machine costs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

MEGABYTE = 1_000_000


@dataclass(slots=True)
class Peak:
    """The largest sum seen while a watch was on, in bytes."""

    bytes: int = 0

    @property
    def megabytes(self) -> float:
        """In MB, rounded."""
        return round(self.bytes / MEGABYTE, 1)


def memory_bytes() -> int:
    """Return the proportional set size of all children: what is shared, as Ray's object store is, counts once."""
    return sum(_memory(child) for child in psutil.Process().children(recursive=True))


def processor_seconds() -> float:
    """Return user and system time of all children since they began."""
    return sum(_seconds(child) for child in psutil.Process().children(recursive=True))


@contextmanager
def watching_memory(every_s: float = 0.5) -> Iterator[Peak]:
    """Look at the memory again and again meanwhile; the peak is whole when the block has ended."""
    peak, stop = Peak(memory_bytes()), threading.Event()

    def watch() -> None:
        while not stop.wait(every_s):
            peak.bytes = max(peak.bytes, memory_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()


def _memory(process: psutil.Process) -> int:
    try:
        info = process.memory_full_info()
    except psutil.Error:
        return 0
    return int(getattr(info, "pss", None) or info.uss)  # only Linux knows shares


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system
