"""How loud a recording is, stretch by stretch, measured while it is read."""

import numpy as np

from pipelines.domain.audio import SAMPLE_RATE_HZ, Loudness
from pipelines.domain.samples import Samples

FINEST_STEP_SAMPLES = SAMPLE_RATE_HZ // 10
MOST_LEVELS = 36_000
"""An hour at a tenth of a second; of ten hours each level is 1.6 s long, and all of them take 150 kB as JSON."""
_FLOOR_DBFS = -99
"""What digital silence is called, which has no level."""
_FULL_SCALE = 32768.0


class LoudnessMeter:
    """Measures one recording. Where there would be too many levels, two neighbours become one."""

    def __init__(self, most_levels: int = MOST_LEVELS) -> None:
        """``most_levels``: an even number."""
        self._most_levels = most_levels
        self._step = FINEST_STEP_SAMPLES
        self._powers: list[float] = []
        self._rest: Samples = np.zeros(0, dtype=np.int16)

    def push(self, block: Samples) -> None:
        """Take the next samples, any number."""
        samples = np.concatenate([self._rest, block])
        while (whole := len(samples) // self._step) + len(self._powers) > self._most_levels:
            room = self._most_levels - len(self._powers)
            self._powers += self._measure(samples[: room * self._step], room)
            samples = samples[room * self._step :]
            self._powers = np.asarray(self._powers).reshape(-1, 2).mean(axis=1).tolist()
            self._step *= 2
        self._powers += self._measure(samples[: whole * self._step], whole)
        self._rest = samples[whole * self._step :]

    def finish(self) -> Loudness:
        """Return what was measured; the last level is that of what is left over."""
        last = self._measure(self._rest, 1) if len(self._rest) else []
        decibels = 10 * np.log10(np.maximum(np.asarray([*self._powers, *last]), 1e-12))
        levels = np.clip(np.ceil(decibels), _FLOOR_DBFS, 0).astype(int)
        return Loudness(step_s=self._step / SAMPLE_RATE_HZ, levels_dbfs=tuple(levels.tolist()))

    def _measure(self, samples: Samples, count: int) -> list[float]:
        if not count:
            return []
        values = np.square(samples.astype(np.float64) / _FULL_SCALE).reshape(count, -1)
        return list(values.mean(axis=1).tolist())
