"""Loaded by every Python process that inherits the test suite's PYTHONPATH: no connection leaves this machine.

Each attempt is written to the file that NETWORK_GUARD_LOG names, and refused. A datagram socket may be "connected"
without a packet being sent (Ray learns its own address that way), so only streams count.
"""

import importlib
import ipaddress
import os
import socket
import sys
from typing import Any


def _is_this_machine(host: str) -> bool:
    if host in ("localhost", "", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or host in _own_addresses()


def _own_addresses() -> set[str]:
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        return set()


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect":
        return
    connecting, address = arguments
    if not isinstance(address, tuple) or connecting.type & 0xF != socket.SOCK_STREAM:
        return
    if not _is_this_machine(str(address[0])):
        with open(os.environ["NETWORK_GUARD_LOG"], "a") as log:  # noqa: PTH123 — pathlib is not worth its import here
            log.write(f"{os.getpid()} {sys.argv[:1]} {address}\n")
        raise ConnectionRefusedError(f"the test suite does not leave this machine: {address}")


if "NETWORK_GUARD_LOG" in os.environ:
    sys.addaudithook(_refuse)
if "HELD_FILES" in os.environ:
    sys.addaudithook(importlib.import_module("held_files").hold)
