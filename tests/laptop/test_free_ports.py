"""Ports for processes that bind them seconds later."""

import random
import socket

import pytest

from serve_app.laptop import private_ray as ports
from serve_app.laptop.private_ray import free_ports


def test_ports_differ_and_are_none_that_a_system_hands_out() -> None:
    found = free_ports(20)
    assert len(set(found)) == 20
    assert all(20_000 <= port < 32_768 for port in found)


def test_a_seed_does_not_make_two_processes_choose_the_same() -> None:
    random.seed(1)
    first = free_ports(4)
    random.seed(1)
    assert free_ports(4) != first


def test_a_port_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        [port] = free_ports(1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        monkeypatch.setattr(ports, "_RANGE", range(port, port + 1))
        with pytest.raises(OSError, match="fewer than 1"):
            free_ports(1)
