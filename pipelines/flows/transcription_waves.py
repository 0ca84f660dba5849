"""Finished windows in the artifact store: what a restarted transcription need not decode again, and events point at."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.domain.audio import TimeSpan
from pipelines.domain.encoding import from_json, to_json
from pipelines.domain.transcript import WindowTranscript
from pipelines.errors import ArtifactNotFound
from pipelines.ports import ArtifactStore

WAVE_WINDOWS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedWindow:
    """What was decoded, and the speech that was heard there."""

    transcript: WindowTranscript
    speech: tuple[TimeSpan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Up to sixteen windows in a row, one artifact: ``{prefix}/wave-0007.json`` holds windows 112 to 127.

    It is written anew with each window that it takes, so that a window is stored before anybody hears of it.
    """

    windows: tuple[FinishedWindow, ...]


class TranscriptionWaves:
    """All finished windows of one recording, in order, each of them written."""

    def __init__(self, artifacts: ArtifactStore | None, prefix: str) -> None:
        self._artifacts = artifacts
        self._prefix = prefix
        self.windows: list[FinishedWindow] = []

    async def load(self) -> Sequence[FinishedWindow]:
        """Read the waves of an earlier run, up to the first that is missing or not full, and return their windows."""
        while self._artifacts is not None and len(self.windows) % WAVE_WINDOWS == 0:
            try:
                data = await self._artifacts.read(wave_key(self._prefix, len(self.windows)))
            except ArtifactNotFound:
                break
            self.windows.extend((await asyncio.to_thread(from_json, Wave, data)).windows)
        return tuple(self.windows)

    async def add(self, window: FinishedWindow) -> None:
        """Take the next window, and write its wave as far as it goes."""
        index = len(self.windows)
        self.windows.append(window)
        if self._artifacts is not None:
            wave = Wave(windows=tuple(self.windows[index - index % WAVE_WINDOWS :]))
            await self._artifacts.write(wave_key(self._prefix, index), await asyncio.to_thread(to_json, wave))


def wave_key(prefix: str, index: int) -> str:
    """Return the key of the wave that holds the window of this index."""
    return f"{prefix}/wave-{index // WAVE_WINDOWS:04d}.json"
