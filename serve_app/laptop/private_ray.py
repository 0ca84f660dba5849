"""A Ray of its own for one machine, on ports that nobody else gets by chance."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import SystemRandom
from typing import Any

import psutil
import ray
from ray import _raylet as ray_core
from ray._private import node as ray_node

from pipelines.errors import ModelUnavailable

_LOGICAL_CPUS = 8
"""Ray's CPUs only admit: with eight, seven small replicas and the tasks of several recordings find a slot anywhere.
Not more, because Ray starts one Python worker for each at once, at seconds of CPU apiece."""
_REHEARSED_CPUS = 16
"""What the rehearsal of a GPU profile has: the CPUs of the smallest node that it is meant for."""
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",  # nothing of this Ray is reachable from outside, and no token should be left behind
    "RAY_worker_niceness": "0",  # Ray's 15 lets whatever else runs on a laptop starve what its user is waiting for
    "RAY_task_events_report_interval_ms": "0",  # else every task is remembered, for a dashboard that is not there
    "OMP_NUM_THREADS": "2",
    # NumPy's second thread waits by spinning and takes the other hyper-thread from the thread that it waits for; what
    # multiplies here is too small to gain from it.
    "OPENBLAS_NUM_THREADS": "1",
    # An application that nobody uses should cost next to nothing: Serve's counters travel every second and not every
    # tenth of one, and this machine's own figures, which nobody collects here, are taken twice a minute. Serve's
    # controller keeps its ten looks a second: with four, the first words of a start came four seconds later.
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
    "REPORTER_UPDATE_INTERVAL_MS": "30000",
}
_START_ATTEMPTS = 3
_PREFIX = "rayscribe-"
_OWNER = "owner"
"""File that says whose folder it is."""
_LONGEST_FOLDER = 18
_AGENT_PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "runtime_env_agent_port",
    "dashboard_agent_listen_port",
)


@contextmanager
def private_ray(*, verbose: bool, pretended_gpus: int) -> Iterator[None]:
    """Start Ray for this process alone; stop it on the way out. Raises ModelUnavailable where it does not start."""
    parent = _short_folder()
    sweep_abandoned(parent)
    folder = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    Path(folder, _OWNER).write_text(_identity(psutil.Process()))
    os.environ.update(_ENVIRONMENT)
    try:
        _start(folder, verbose=verbose, pretended_gpus=pretended_gpus)
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def sweep_abandoned(parent: Path) -> None:
    """Remove the folders of those that were killed before they could do it themselves."""
    for owner in parent.glob(f"{_PREFIX}*/{_OWNER}"):
        with suppress(OSError, ValueError, psutil.Error):
            pid = int(owner.read_text().split()[0])
            if not psutil.pid_exists(pid) or _identity(psutil.Process(pid)) != owner.read_text():
                shutil.rmtree(owner.parent, ignore_errors=True)


def _identity(process: psutil.Process) -> str:
    """Name a process for good: numbers are given out again, but not with the same moment of birth."""
    return f"{process.pid} {process.create_time()}"


def _short_folder() -> Path:
    """Return the folder for temporary files, or the usual one where its name is too long for Ray's sockets.

    A socket's path has at most 103 bytes (107 on Linux), of which Ray's own part takes 84.
    """
    folder, usual = Path(tempfile.gettempdir()), Path(os.sep, "tmp")
    return usual if len(str(folder)) > _LONGEST_FOLDER and usual.is_dir() else folder


def _start(folder: str, *, verbose: bool, pretended_gpus: int) -> None:
    """Start Ray, again where it gave up: it waits 30 s for its own processes, which a busy machine can exceed."""
    for attempt in range(1, _START_ATTEMPTS + 1):
        try:
            with _node_class(_SmallNode if verbose else _QuietNode):
                ray.init(
                    address="local",
                    num_cpus=_REHEARSED_CPUS if pretended_gpus else _LOGICAL_CPUS,
                    num_gpus=pretended_gpus or None,
                    include_dashboard=False,
                    _temp_dir=f"{folder}/{attempt}",
                    log_to_driver=verbose,
                    logging_level=logging.WARNING,
                    configure_logging=verbose,
                )
            return
        except Exception as error:
            ray.shutdown()
            _kill_processes_of(f"{folder}/{attempt}")
            if attempt == _START_ATTEMPTS:
                raise ModelUnavailable(f"Ray did not start on this machine: {error}") from error


class _SmallNode(ray_node.Node):
    """Ray's node, with the processes that one machine needs and no others: each is 100 MB and seconds of CPU."""

    def start_api_server(self, **_: Any) -> None:
        """Leave it out: without a dashboard it only counts usage, and asks the cloud's metadata service where it is."""

    def start_monitor(self) -> None:
        """Leave the autoscaler out: there is one machine."""

    def start_ray_processes(self) -> None:
        """Say beforehand where agents will listen.

        The raylet dies when its agents, which import all of Ray, have not written their ports to a file within 15 s:
        on two busy cores they have not (Ray issue 65983). It asks for no file where a port is given, but for one.
        """
        for name, port in zip(_AGENT_PORTS, free_ports(len(_AGENT_PORTS)), strict=True):
            setattr(self._ray_params, name, port)
        core: Any = ray_core
        listen_port = self._ray_params.dashboard_agent_listen_port
        core.persist_port(self._session_dir, self._node_id, core.DASHBOARD_AGENT_LISTEN_PORT_NAME, listen_port)
        super().start_ray_processes()  # type: ignore[no-untyped-call]


class _QuietNode(_SmallNode):
    """One whose workers' logs nobody watches; they are in files all the same."""

    def start_log_monitor(self) -> None:
        """Leave it out."""


@contextmanager
def _node_class(node: type[ray_node.Node]) -> Iterator[None]:
    """Let ``ray.init`` make this kind of node."""
    usual = ray_node.Node
    vars(ray_node)["Node"] = node
    try:
        yield
    finally:
        vars(ray_node)["Node"] = usual


def _kill_processes_of(session: str) -> None:
    """Kill what a start that failed left behind: Ray stops only what it knows to be running."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(session in argument for argument in process.cmdline()):
                process.kill()


_RANGE = range(20_000, 32_768)
"""Below what systems hand out by themselves (from 32,768 on Linux, 49,152 elsewhere), above Ray's workers (19,999)."""


def free_ports(count: int) -> list[int]:
    """Return different ports that are free on every address of this machine.

    Seconds pass until whoever is given one has started and binds it. A port that the system chose may belong to the
    next connection by then: Ray opens many while it starts, and dies when an agent of its own finds its port taken.
    Raises OSError where there are not so many.
    """
    found: list[int] = []
    for port in SystemRandom().sample(_RANGE, len(_RANGE)):
        if _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"fewer than {count} ports between {_RANGE.start} and {_RANGE.stop - 1} are free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
