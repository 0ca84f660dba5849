"""A folder through which a test watches and holds fakes that live in other processes.

Every call of a fake appends a line ``pid detail`` to ``VERB.log``; while ``VERB.hold`` exists, calls wait, but for as
many as the file says. With both, a fault can be injected in the middle of a stage, and what was done twice can be
counted afterwards. While ``VERB.starve`` exists, calls fail for lack of memory.
"""

import asyncio
import math
import os
from pathlib import Path

from pipelines.errors import ModelOutOfMemory

_POLL_S = 0.02


class Rehearsal:
    """One fake's side of the folder."""

    def __init__(self, folder: Path | None) -> None:
        """Take the folder; None: nothing is written and nothing waits."""
        self._folder = folder

    async def enter(self, verb: str, detail: str) -> None:
        """Write down that ``verb`` was called, then wait while it is held. Raises ModelOutOfMemory while starved."""
        if self._folder is None:
            return
        log = self._folder / f"{verb}.log"
        with log.open("a") as lines:
            lines.write(f"{os.getpid()} {detail}\n")
        number = log.read_bytes().count(b"\n")
        while number > self._let_through(verb):  # noqa: ASYNC110 — no event reaches another process
            await asyncio.sleep(_POLL_S)
        if (self._folder / f"{verb}.starve").exists():
            raise ModelOutOfMemory("the rehearsal left no memory")

    def _let_through(self, verb: str) -> float:
        assert self._folder is not None
        try:
            return int((self._folder / f"{verb}.hold").read_text() or 0)
        except FileNotFoundError:
            return math.inf


class Conductor:
    """The test's side of the folder."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is created."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def hold(self, verb: str, *, after: int = 0) -> None:
        """Let calls of ``verb`` wait from now on, but for the first ``after`` of all that were ever made."""
        (self.folder / f"{verb}.hold").write_text(str(after))

    def release(self, verb: str) -> None:
        """Let them go on."""
        (self.folder / f"{verb}.hold").unlink(missing_ok=True)

    def starve(self, verb: str) -> None:
        """Let calls of ``verb`` fail for lack of memory from now on, until ``forget``."""
        (self.folder / f"{verb}.starve").touch()

    def calls(self, verb: str) -> list[tuple[int, str]]:
        """Return (process id, detail) of every call so far."""
        log = self.folder / f"{verb}.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(int(pid), detail) for pid, _, detail in (line.partition(" ") for line in lines)]

    def forget(self) -> None:
        """Start counting anew, with nothing held."""
        for path in self.folder.iterdir():
            path.unlink()
