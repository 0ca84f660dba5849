"""Sound as it arrives: any rate and codec to 16 kHz, and a buffer of what may still be needed."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.domain.live import AudioFormat
from pipelines.domain.samples import Samples
from pipelines.errors import InvalidRequest

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 192_000


def _ulaw_table() -> NDArray[np.int16]:
    """Return what each byte of µ-law means (ITU-T G.711, table 2a)."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> NDArray[np.int16]:
    """Return what each byte of A-law means (ITU-T G.711, table 1a)."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = (code & 0x70) >> 4, (code & 0x0F) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, mantissa + 0x108 << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_TABLES = {"ulaw": _ulaw_table(), "alaw": _alaw_table()}


class SoundReader:
    """Bytes of one stream to samples at 16 kHz; what is left of a sample or a filter is carried to the next bytes."""

    def __init__(self, sound: AudioFormat) -> None:
        """Raises InvalidRequest for a rate that is none."""
        if not MIN_RATE_HZ <= sound.rate_hz <= MAX_RATE_HZ:
            raise InvalidRequest(f"a rate lies between {MIN_RATE_HZ:,} and {MAX_RATE_HZ:,} Hz", "rate")
        self.format = sound
        self._rest = b""
        self._decode: Callable[[bytes], Samples] = self._pcm if sound.codec == "pcm" else self._companded
        self._resampler = None if sound.rate_hz == SAMPLE_RATE_HZ else _resampler()

    def read(self, data: bytes) -> Samples:
        """Return what became complete. A resampler holds back about a millisecond."""
        samples = self._decode(data)
        return samples if self._resampler is None or not len(samples) else self._resampled(samples)

    def finish(self) -> Samples:
        """Return what the resampler still holds; the reader is spent."""
        if self._resampler is None:
            return np.zeros(0, dtype=np.int16)
        return _joined(self._resampler.resample(None))

    def _pcm(self, data: bytes) -> Samples:
        data = self._rest + data
        whole = len(data) - len(data) % 2
        self._rest = data[whole:]
        return np.frombuffer(data[:whole], dtype="<i2").astype(np.int16)

    def _companded(self, data: bytes) -> Samples:
        table: Samples = _TABLES[self.format.codec]
        return table[np.frombuffer(data, dtype=np.uint8)]

    def _resampled(self, samples: Samples) -> Samples:
        from av import AudioFrame

        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self.format.rate_hz
        assert self._resampler is not None
        return _joined(self._resampler.resample(frame))


def _resampler() -> "AudioResampler":
    from av import AudioResampler

    return AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)


def _joined(frames: "Sequence[AudioFrame]") -> Samples:
    parts = [frame.to_ndarray().reshape(-1) for frame in frames]
    return np.concatenate(parts).astype(np.int16) if parts else np.zeros(0, dtype=np.int16)


class SoundBuffer:
    """The most recent samples, addressed by their position in the session."""

    def __init__(self) -> None:
        self._samples: Samples = np.zeros(SAMPLE_RATE_HZ, dtype=np.int16)
        self._offset = 0
        self.start = 0
        """Position of the first sample that is still held."""
        self.end = 0
        """Position after the last one."""

    def append(self, block: Samples) -> None:
        """Take the next samples; what was forgotten makes room for them."""
        held = self.end - self.start
        if self._offset + held + len(block) > len(self._samples):
            room = self._samples
            if held + len(block) > len(room) // 2:
                room = np.zeros(2 * (held + len(block)), dtype=np.int16)
            room[:held] = self._samples[self._offset : self._offset + held].copy()
            self._samples, self._offset = room, 0
        self._samples[self._offset + held : self._offset + held + len(block)] = block
        self.end += len(block)

    def slice(self, start: int, end: int) -> Samples:
        """Return a copy of the samples between two positions, as far as they are held."""
        start, end = max(start, self.start), min(end, self.end)
        return self._samples[self._offset + start - self.start : self._offset + end - self.start].copy()

    def forget_before(self, position: int) -> None:
        """Hold nothing before ``position`` any more."""
        position = min(position, self.end)
        if position > self.start:
            self._offset += position - self.start
            self.start = position
