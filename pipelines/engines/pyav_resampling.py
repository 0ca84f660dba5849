"""Frames of any rate and layout, as a decoder gives them, to mono 16 kHz int16 on the recording's own time line."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.engines.container_formats import check_audio_header
from pipelines.samples import Samples

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

_GAP_S, _CLOCK_JUMP_S = 0.25, 60.0
"""A gap between two frames of at least the first is filled with silence, so that times stay those of the recording
(lost packets, silence that was not sent); beyond the second the container's clock was reset, and says nothing."""


def resampled(frames: Iterator["AudioFrame"]) -> Iterator[Samples]:
    """Bring frames to mono 16 kHz int16; a change of rate, layout or format in the middle starts a new resampler."""
    resampler, shape, clock = None, None, _Clock()
    for frame in frames:
        frame_shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        gap_s = clock.gap_before(frame)
        if resampler is not None and (gap_s or frame_shape != shape):
            yield from resampler.finish()
            resampler = None
        if gap_s:
            yield np.zeros(round(gap_s * SAMPLE_RATE_HZ), dtype=np.int16)
        if resampler is None:
            check_audio_header(channels=frame.layout.nb_channels, sample_rate_hz=frame.sample_rate)
            resampler, shape = _Resampler(frame.sample_rate), frame_shape
        yield from resampler.push(frame)
    if resampler is not None:
        yield from resampler.finish()


class _Resampler:
    """Resamples frames of one shape, a second at a time: a call for each frame of 20 ms costs three times more."""

    def __init__(self, rate_hz: int) -> None:
        from av.audio.fifo import AudioFifo
        from av.audio.resampler import AudioResampler

        self._rate_hz = rate_hz
        self._waiting = AudioFifo()
        self._resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)

    def push(self, frame: "AudioFrame") -> Iterator[Samples]:
        """Take a frame; yield what is ready."""
        frame.pts = None  # neither queue nor resampler must act on a broken clock
        self._waiting.write(frame)
        if self._waiting.samples >= self._rate_hz:
            yield from self._convert(self._waiting.read())

    def finish(self) -> Iterator[Samples]:
        """Yield the rest."""
        if self._waiting.samples:
            yield from self._convert(self._waiting.read())
        yield from self._convert(None)

    def _convert(self, frame: "AudioFrame | None") -> Iterator[Samples]:
        for converted in self._resampler.resample(frame):
            if converted is not None:
                yield converted.to_ndarray().reshape(-1).astype(np.int16, copy=False)


class _Clock:
    """Compares the container's timestamps with the samples that were really there."""

    def __init__(self) -> None:
        self._expected_s: float | None = None

    def gap_before(self, frame: "AudioFrame") -> float:
        """Return the seconds that are missing between the last frame and this one; 0.0 for less than 0.25 s."""
        stamped_s, expected_s = frame.time, self._expected_s
        gap_s = 0.0 if stamped_s is None or expected_s is None else stamped_s - expected_s
        start_s = stamped_s if stamped_s is not None else expected_s or 0.0
        if abs(gap_s) < _GAP_S and expected_s is not None:
            start_s = expected_s
        self._expected_s = start_s + frame.samples / frame.sample_rate
        return gap_s if _GAP_S <= gap_s <= _CLOCK_JUMP_S else 0.0
