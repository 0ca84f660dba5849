"""Ports at which nobody listens, and which nobody gets by chance before they are bound."""

import socket
from random import SystemRandom

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
