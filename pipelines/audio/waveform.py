"""A recording as a few thousand peaks: what a player draws, in memory that does not grow with the length."""

from contextlib import closing
from typing import BinaryIO

import numpy as np

from pipelines.domain.audio import SAMPLE_RATE_HZ, Waveform
from pipelines.domain.samples import Samples
from pipelines.ports.audio import AudioDecoder

MOST_PEAKS = 8192
"""Ten hours in 4.4 s each: as fine as any screen is wide, and 25 kB of JSON."""
_FIRST_STRETCH_SAMPLES = SAMPLE_RATE_HZ // 100
_FULL_SCALE = 32_768


class PeakMeter:
    """Takes samples block by block; whenever there are too many stretches, each two of them become one."""

    def __init__(self, most_peaks: int = MOST_PEAKS) -> None:
        """``most_peaks`` is even; between half of it and all of it are there at the end of a long recording."""
        self._most = most_peaks
        self._stretch = _FIRST_STRETCH_SAMPLES
        self._peaks = np.zeros(0, dtype=np.int32)
        self._rest = np.zeros(0, dtype=np.int32)
        self._count = 0

    def push(self, block: Samples) -> None:
        """Take the next samples, int16, any number."""
        self._count += len(block)
        # 32 bits: the absolute value of the least 16-bit number is not one.
        samples = np.concatenate([self._rest, np.abs(block.astype(np.int32))])
        whole = len(samples) // self._stretch * self._stretch
        found = samples[:whole].reshape(-1, self._stretch).max(axis=1, initial=0)
        self._peaks, self._rest = np.concatenate([self._peaks, found]), samples[whole:]
        while len(self._peaks) > self._most:
            self._halve()

    def finish(self) -> Waveform:
        """Return what was measured."""
        last = [self._rest.max(initial=0)] if len(self._rest) else []
        percent = np.ceil(np.concatenate([self._peaks, last]) * 100 / _FULL_SCALE).astype(int)
        return Waveform(duration_s=self._count / SAMPLE_RATE_HZ, peaks=tuple(percent.tolist()))

    def _halve(self) -> None:
        even = len(self._peaks) // 2 * 2
        left = self._peaks[even:]
        self._peaks = self._peaks[:even].reshape(-1, 2).max(axis=1)
        # An odd stretch goes on with what comes, at its own level: only its peak is asked for.
        self._rest = np.concatenate([np.repeat(left, self._stretch), self._rest])
        self._stretch *= 2


def measure_waveform(decoder: AudioDecoder, source: BinaryIO, *, max_duration_s: float) -> Waveform:
    """Decode a recording and return its peaks. Blocking; raises as AudioDecoder.decode does."""
    meter = PeakMeter()
    with closing(decoder.decode(source, max_duration_s=max_duration_s)) as blocks:
        for block in blocks:
            meter.push(block)
    return meter.finish()
