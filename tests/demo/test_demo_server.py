"""What the demo starts, it stops: the server and the processes that the server started, and nothing else."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from demo import demo_server
from demo.demo_server import DemoServer, ServerDied, free_port

_SERVER = """
import http.server, signal, subprocess, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/live" else 404)
        self.end_headers()
    def log_message(self, *_): pass

child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("child", child.pid, flush=True)
{on_stop}
http.server.HTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""


def start(tmp_path: Path, program: str, port: int) -> DemoServer:
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    return DemoServer(process, port, log)


@pytest.mark.parametrize("on_stop", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"], ids=["obedient", "deaf"])
def test_stop_ends_the_server_and_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_stop: str) -> None:
    monkeypatch.setattr(demo_server, "STOP_LIMIT_S", 1.0 if on_stop else 30.0)
    monkeypatch.setattr(demo_server, "CHILDREN_LIMIT_S", 0.5)
    port = free_port(18_000)
    server = start(tmp_path, _SERVER.format(port=port, on_stop=on_stop), port)
    try:
        server.wait_until_live(lambda words: None)
        child = psutil.Process(int(server.last_words().split()[1]))
    finally:
        server.stop()
    assert server.wait_until_stopped() != 0
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert psutil.pid_exists(os.getpid())


def test_server_that_dies_at_start_shows_its_log(tmp_path: Path) -> None:
    server = start(tmp_path, "print('the port is taken'); raise SystemExit(3)", free_port(18_000))
    with pytest.raises(ServerDied, match="the port is taken"):
        server.wait_until_live(lambda words: None)
    server.stop()


def test_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_server, "START_LIMIT_S", 0.0)
    server = start(tmp_path, "import time; time.sleep(600)", free_port(18_000))
    with pytest.raises(ServerDied, match="no answer within 0 s"):
        server.wait_until_live(lambda words: None)
    server.stop()
    assert server.wait_until_stopped() != 0


def test_running_server_starts_the_command_line_and_always_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    real = subprocess.Popen

    def popen(command: list[str], **options: object) -> "subprocess.Popen[bytes]":
        started.append(command)
        return real([sys.executable, "-c", "import time; time.sleep(600)"], **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(KeyError), demo_server.running_server(8123, tmp_path / "data") as server:
        raise KeyError
    assert started[0][1:] == ["-m", "serve_app.cli", "up", "--port", "8123", "--data", str(tmp_path / "data")]
    assert server.wait_until_stopped() != 0


def test_taken_port_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        assert free_port(taken) > taken
