"""Finished windows on their way to the artifact store: what a restarted transcription need not decode again."""

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
    """Sixteen windows in a row, written as one artifact: ``{prefix}/wave-0007.json`` holds windows 112 to 127."""

    windows: tuple[FinishedWindow, ...]


class TranscriptionWaves:
    """All finished windows of one recording, in order. Full waves are written; the rest is in flight."""

    def __init__(self, artifacts: ArtifactStore | None, prefix: str) -> None:
        self._artifacts = artifacts
        self._prefix = prefix
        self.windows: list[FinishedWindow] = []

    async def load(self) -> Sequence[FinishedWindow]:
        """Read the waves of an earlier run, up to the first that is missing, and return their windows."""
        while self._artifacts is not None:
            try:
                data = await self._artifacts.read(self._key(len(self.windows) // WAVE_WINDOWS))
            except ArtifactNotFound:
                break
            self.windows.extend(from_json(Wave, data).windows)
        return tuple(self.windows)

    async def add(self, window: FinishedWindow) -> None:
        """Take the next window; every sixteenth completes a wave, which is written."""
        self.windows.append(window)
        if self._artifacts is not None and len(self.windows) % WAVE_WINDOWS == 0:
            wave = Wave(windows=tuple(self.windows[-WAVE_WINDOWS:]))
            await self._artifacts.write(self._key(len(self.windows) // WAVE_WINDOWS - 1), to_json(wave))

    def _key(self, number: int) -> str:
        return f"{self._prefix}/wave-{number:04d}.json"
