"""Holds whoever opens or publishes a file that a test named, so that it can be killed in the middle.

Loaded where ``HELD_FILES`` names the folder of a `pipelines.fakes.rehearsal.Conductor`, which sees these calls as it
sees those of a fake: ``read-NAME`` before a file called NAME is opened for reading, ``write-NAME`` after it was written
and before it is there for others. Standard library only: every process of the application loads this at its start.
"""

import os
import time
from typing import Any

_POLL_S = 0.02
_NAMES = ("recording", "attribute.json", "index.json", "result.json")


def hold(event: str, arguments: tuple[Any, ...]) -> None:
    """Write the call down and wait while it is held; an audit hook (PEP 578)."""
    if event == "open" and isinstance(arguments[0], str) and arguments[1] and "r" in arguments[1]:
        _enter("read", arguments[0])
    elif event == "os.rename":
        _enter("write", os.fspath(arguments[1]))


def _enter(verb: str, path: str) -> None:
    name = os.path.basename(path)  # noqa: PTH119 — pathlib is not worth its import here
    if name not in _NAMES:
        return
    call = os.path.join(os.environ["HELD_FILES"], f"{verb}-{name}")  # noqa: PTH118
    with open(f"{call}.log", "a+") as lines:  # noqa: PTH123
        lines.write(f"{os.getpid()} {path}\n")
        lines.seek(0)
        number = sum(1 for _ in lines)
    while number > _let_through(f"{call}.hold"):
        time.sleep(_POLL_S)


def _let_through(hold: str) -> float:
    try:
        with open(hold) as file:  # noqa: PTH123
            return int(file.read() or 0)
    except FileNotFoundError:
        return float("inf")
