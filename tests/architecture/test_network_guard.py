"""The guard itself: a suite that could reach the network proves nothing about privacy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_a_process_started_by_a_test_cannot_leave_this_machine(tmp_path: Path) -> None:
    script = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    environment = os.environ | {"NETWORK_GUARD_LOG": str(tmp_path / "attempts")}
    finished = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert "does not leave this machine" in finished.stderr
    assert "192.0.2.1" in (tmp_path / "attempts").read_text()


def test_loopback_is_open(unused_tcp_port: int) -> None:
    server = f"s = socket.create_server(('127.0.0.1', {unused_tcp_port}))"
    script = f"import socket; {server}; socket.create_connection(s.getsockname())"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", ["PYANNOTE_METRICS_ENABLED", "RAY_USAGE_STATS_ENABLED", "HF_HUB_OFFLINE"])
def test_usage_statistics_are_off(name: str) -> None:
    assert os.environ[name] in ("0", "1", "false")
    assert (os.environ[name] == "1") == (name == "HF_HUB_OFFLINE")
