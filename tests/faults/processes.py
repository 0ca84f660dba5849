"""Finding and killing the processes of an application that this test session started, by pid."""

import os
import re
import signal
import time
from collections.abc import Callable

import psutil

PATIENCE_S = 60.0


def replica_pids(deployment: str) -> list[int]:
    """Return the pids of a deployment's replicas below this process, by the title that Ray gives its workers."""
    return _titled(rf"ServeReplica:\w+:{deployment}\b")


def controller_pid() -> int:
    """Return the pid of Serve's controller."""
    (pid,) = _titled("ServeController")
    return pid


def kill(pid: int) -> None:
    """SIGKILL one process of ours."""
    os.kill(pid, signal.SIGKILL)


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` holds; fail, saying what was waited for."""
    limit = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < limit, f"waited {PATIENCE_S:.0f} s in vain until {what}"
        time.sleep(0.02)


def _titled(pattern: str) -> list[int]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if re.search(pattern, title):
            found.append(process.pid)
    return sorted(found)
