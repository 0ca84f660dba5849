"""The demo's own server: a process that is started, watched and stopped here, with everything it started."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from serve_app.cli.doctor_machine import port_is_free
from serve_app.client import RayScribeClient, ServerUnreachable
from serve_app.laptop.private_ray import free_ports

PROJECT_FOLDER = Path(__file__).resolve().parent.parent
START_LIMIT_S = 300.0
STOP_LIMIT_S = 60.0
CHILDREN_LIMIT_S = 5.0


class ServerDied(Exception):
    """The server ended before it answered; the message holds the end of its log."""


class DemoServer:
    """One server process on a port of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        """Take a process that was just started."""
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._process = process
        self._started = time.monotonic()

    @property
    def age_s(self) -> float:
        """Seconds since the process was started."""
        return time.monotonic() - self._started

    def last_words(self, lines: int = 1) -> str:
        """Return the end of the log."""
        written = self.log.read_text(errors="replace").strip().splitlines()
        return "\n".join(written[-lines:])

    def wait_until_live(self, on_wait: Callable[[str], None]) -> None:
        """Wait until the server answers; ``on_wait`` gets its last words. Raises ServerDied."""
        with RayScribeClient(self.url) as client:
            while not _answers(client):
                if self._process.poll() is not None:
                    raise ServerDied(f"the server ended before it answered:\n{self.last_words(30)}")
                if self.age_s > START_LIMIT_S:
                    raise ServerDied(f"no answer within {START_LIMIT_S:.0f} s\n{self.last_words(30)}")
                on_wait(self.last_words())
                time.sleep(0.2)

    def wait_until_stopped(self) -> int:
        """Wait for the process to end and return its exit status."""
        return self._process.wait()

    def stop(self) -> None:
        """Tell the server to stop, and end whatever it should leave behind."""
        started = _with_children(self._process.pid)
        if self._process.poll() is None:
            # Not SIGINT: a process that a shell started in the background ignores it, and so do its children.
            self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _, left = psutil.wait_procs(started, timeout=CHILDREN_LIMIT_S)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=CHILDREN_LIMIT_S)


def free_port(wanted: int) -> int:
    """Return ``wanted`` or the next free port after it."""
    for port in range(wanted, wanted + 50):
        if port_is_free(port):
            return port
    return free_ports(1)[0]


@contextmanager
def running_server(port: int, data: Path) -> Iterator[DemoServer]:
    """Start a server in the local profile and stop it on the way out. It may not answer yet."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / "server.log"
    command = [sys.executable, "-m", "serve_app.cli", "up", "--port", str(port), "--data", str(data)]
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches the demo alone, which then stops the server in order.
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=PROJECT_FOLDER, start_new_session=True
        )
    server = DemoServer(process, port, log)
    try:
        yield server
    finally:
        server.stop()


def _answers(client: RayScribeClient) -> bool:
    try:
        status, _ = client.health("live")
    except ServerUnreachable:
        return False
    return status == 200


def _with_children(process_id: int) -> list[psutil.Process]:
    try:
        return psutil.Process(process_id).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
