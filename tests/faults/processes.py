"""Finding and killing the processes of an application that this test session started, by pid."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator

import psutil

PATIENCE_S = 60.0
CONTROLLER = "ServeController"
_REPLICA = re.compile(r"ServeReplica:\w+:(\w+)")


def roles(root: psutil.Process | None = None) -> dict[str, list[int]]:
    """Return role → pids of all processes below ``root`` (this process): deployments by name, and Ray's own."""
    found: dict[str, list[int]] = {}
    for process in (root or psutil.Process()).children(recursive=True):
        for role in _role(process):
            found.setdefault(role, []).append(process.pid)
    return {role: sorted(pids) for role, pids in found.items()}


def pids_of(role: str) -> list[int]:
    """Return the pids of one deployment's replicas, or of Serve's controller, below this process."""
    return roles().get(role, [])


def kill(pid: int) -> None:
    """SIGKILL one process of ours."""
    os.kill(pid, signal.SIGKILL)


def kill_tree(root: psutil.Process) -> int:
    """SIGKILL a process of ours and all below it, each by its pid, youngest first; return how many there were."""
    doomed = [*reversed(root.children(recursive=True)), root]
    for process in doomed:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(doomed, timeout=PATIENCE_S)
    return len(doomed)


def eventually(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until ``condition`` holds; fail, saying what was waited for."""
    limit = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < limit, f"waited {patience_s:.0f} s in vain until {what}"
        time.sleep(0.02)


def _role(process: psutil.Process) -> Iterator[str]:
    try:
        title = " ".join(process.cmdline())
    except psutil.Error:
        return
    if replica := _REPLICA.search(title):
        yield replica[1]
    elif CONTROLLER in title or "SERVE_CONTROLLER" in title:
        yield CONTROLLER
    else:
        yield _ray_role(title)


def _ray_role(title: str) -> str:
    known = {"ProxyActor": "proxy", "gcs_server": "gcs", "raylet/raylet": "raylet", "runtime_env": "runtime env agent"}
    known |= {"dashboard/agent": "agent", "ray::": "worker"}
    return next((role for words, role in known.items() if words in title), "other")
