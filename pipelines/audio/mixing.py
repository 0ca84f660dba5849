"""Frames of any rate, layout and clock to mono int16 samples at 16 kHz on the player's time line."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipelines.audio.containers import check_audio_header
from pipelines.domain.audio import SAMPLE_RATE_HZ, AudioWarning
from pipelines.domain.samples import Samples

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

BLOCK_SAMPLES = 4 * SAMPLE_RATE_HZ
_GAP_S, _LEAD_S, _CLOCK_JUMP_S = 0.25, 0.03, 60.0
"""A gap between two frames of at least the first, or before the first frame of at least the second, is filled with
silence, so that times stay those of the player. Beyond the third it may be that the clock was set anew instead."""
_JOINED_S, _UNCERTAIN_S = 0.25, 1.0
"""A clock that goes back to where it began, so exactly, belongs to a second recording; one that was set anew makes
times uncertain if it jumped at least so far."""


class Timeline:
    """Compares the container's time stamps with the samples that were really there, and says where silence is missing.

    ``origin_s``: the stamp at which a player begins; None: that of the first frame. ``start_s``: where this part
    begins in the recording. ``believes``: whether a frame so far from the origin, after more than 60 s without any, can
    be true.
    """

    def __init__(self, *, origin_s: float | None, start_s: float, believes: Callable[[float], bool]) -> None:
        self._origin_s = origin_s
        self._offset_s: float | None = None
        self._earlier_offset_s: float | None = None
        self._start_s = start_s
        self._believes = believes
        self._joins_s: list[float] = []
        self._jumps_s: list[float] = []
        self.position_s = start_s
        """Where the next sample belongs."""

    def gap_before(self, frame: "AudioFrame") -> float:
        """Return the seconds of silence between the last frame and this one, and move on to the end of this one."""
        gap_s = 0.0 if frame.time is None else self._gap_before(frame.time)
        self.position_s += gap_s + frame.samples / frame.sample_rate
        return gap_s

    def warnings(self) -> Iterator[AudioWarning]:
        """Say where further recordings begin, and where the clock was set anew."""
        if self._joins_s:
            yield joined_warning(self._joins_s)
        if self._jumps_s:
            yield AudioWarning(
                code="times_uncertain",
                message=f"the recording's clock jumps {_times(len(self._jumps_s))}: from there on a player may show "
                "other times",
                start_s=round(self._jumps_s[0], 3),
            )

    def _gap_before(self, stamp_s: float) -> float:
        if self._offset_s is None:
            self._origin_s = stamp_s if self._origin_s is None else self._origin_s
            self._offset_s = self._start_s - self._origin_s
        gap_s = stamp_s + self._offset_s - self.position_s
        if abs(gap_s) < (_GAP_S if self.position_s > self._start_s else _LEAD_S):
            return 0.0
        earlier_s = self._earlier_offset_s
        if earlier_s is not None and abs(stamp_s + earlier_s - self.position_s) < _GAP_S:  # one frame was stamped wrong
            self._offset_s, self._earlier_offset_s = earlier_s, self._offset_s
            return 0.0
        if gap_s > 0 and (gap_s <= _CLOCK_JUMP_S or self._believes(stamp_s - (self._origin_s or 0.0))):
            return gap_s
        self._set_anew(stamp_s, jump_s=gap_s)
        return 0.0

    def _set_anew(self, stamp_s: float, *, jump_s: float) -> None:
        if abs(stamp_s - (self._origin_s or 0.0)) < _JOINED_S:
            self._joins_s.append(self.position_s)
        elif abs(jump_s) >= _UNCERTAIN_S:
            self._jumps_s.append(self.position_s)
        self._earlier_offset_s, self._offset_s = self._offset_s, self.position_s - stamp_s


def joined_warning(joins_s: Sequence[float]) -> AudioWarning:
    """Return what is said of a file in which further recordings begin at ``joins_s``."""
    message = f"the file holds {len(joins_s) + 1} recordings one after another: some players play only the first"
    return AudioWarning(code="recordings_joined", message=message, start_s=round(joins_s[0], 3))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


_FLOOR = 33.0
"""Quieter than −60 dBFS (root mean square), nothing is said about channels."""
_CANCELLED = 0.1
"""Channels cancel each other where their mix has less than this share of the power of the loudest of them: two that
have nothing to do with each other leave a quarter."""
_LEAST_CANCELLED_S = 2.0
"""So much, or half of what there is, is worth a word."""


class Mixer:
    """Brings all frames to mono 16 kHz int16, and holds what was noticed on the way."""

    def __init__(self, *, channel: int | None = None, observe: Callable[[Samples], None] | None = None) -> None:
        """``channel``: the one to be taken instead of the mix; ``observe`` sees all, shape ``(n, channels)``."""
        self._channel = channel
        self._observe = observe
        self._heard_samples = 0
        self._cancelled_samples = 0
        self._cancels = False
        self._first_cancelled, self._last_cancelled = 0, 0
        self.samples = 0
        """How many were yielded."""

    def mix(self, frames: Iterator["AudioFrame"], timeline: Timeline) -> Iterator[Samples]:
        """Yield samples; a change of rate, layout or format in the middle starts a new resampler."""
        resampler, shape = None, None
        for frame in frames:
            frame_shape = (frame.format.name, frame.layout.name, frame.layout.nb_channels, frame.sample_rate)
            gap_s = timeline.gap_before(frame)
            if resampler is not None and (gap_s or frame_shape != shape):
                yield from self._mixed(resampler.finish())
                resampler = None
            yield from self._silence(round(gap_s * SAMPLE_RATE_HZ))
            if resampler is None:
                check_audio_header(channels=frame.layout.nb_channels, sample_rate_hz=frame.sample_rate)
                resampler, shape = _Resampler(frame), frame_shape
            yield from self._mixed(resampler.push(frame))
        if resampler is not None:
            yield from self._mixed(resampler.finish())

    def warnings(self) -> Iterator[AudioWarning]:
        """Say what was noticed."""
        if self._cancelled_samples and self._cancelled_samples >= min(
            _LEAST_CANCELLED_S * SAMPLE_RATE_HZ, self._heard_samples / 2
        ):
            yield AudioWarning(
                code="mix_cancelled",
                message="the channels cancel each other (one has opposite phase): the loudest alone was taken",
                start_s=round(self._first_cancelled / SAMPLE_RATE_HZ, 3),
                end_s=round(self._last_cancelled / SAMPLE_RATE_HZ, 3),
            )

    def _silence(self, count: int) -> Iterator[Samples]:
        for start in range(0, count, BLOCK_SAMPLES):
            yield self._counted(np.zeros(min(BLOCK_SAMPLES, count - start), dtype=np.int16))

    def _mixed(self, pieces: Iterator[tuple[Samples, Samples]]) -> Iterator[Samples]:
        """Take pieces as mono, and as channels, shape ``(n, channels)``."""
        for mono, channels in pieces:
            if self._observe is not None:
                self._observe(channels)
            if self._channel is not None:
                mono, channels = channels[:, min(self._channel, channels.shape[1] - 1)].copy(), channels[:, :1]
            yield self._counted(mono if channels.shape[1] < 2 else self._loud_enough(mono, channels))

    def _loud_enough(self, mono: Samples, channels: Samples) -> Samples:
        powers = np.square(channels, dtype=np.float32).mean(axis=0)
        loudest = int(np.argmax(powers))
        if powers[loudest] > _FLOOR**2:
            self._heard_samples += len(mono)
            self._cancels = bool(np.square(mono, dtype=np.float32).mean() < _CANCELLED * powers[loudest])
        if not self._cancels:
            return mono
        self._first_cancelled = self._first_cancelled if self._cancelled_samples else self.samples
        self._cancelled_samples += len(mono)
        self._last_cancelled = self.samples + len(mono)
        return np.ascontiguousarray(channels[:, loudest])

    def _counted(self, samples: Samples) -> Samples:
        self.samples += len(samples)
        return samples


class _Resampler:
    """Resamples frames of one shape, a second at a time: a call for each frame of 20 ms costs three times more."""

    def __init__(self, frame: "AudioFrame") -> None:
        from av.audio.fifo import AudioFifo
        from av.audio.resampler import AudioResampler

        self._rate_hz = frame.sample_rate
        self._channels = frame.layout.nb_channels
        self._waiting = AudioFifo()
        layout = "mono" if self._channels == 1 else frame.layout.name
        self._resampler = AudioResampler(format="s16", layout=layout, rate=SAMPLE_RATE_HZ)
        # FFmpeg knows how loud each of a cinema's channels belongs into the mix; of two it is half of each.
        self._downmix = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ) if self._channels > 2 else None

    def push(self, frame: "AudioFrame") -> Iterator[tuple[Samples, Samples]]:
        """Take a frame; yield what is ready: the mix, and the channels, shape ``(n, channels)``."""
        frame.pts = None  # neither queue nor resampler must act on a broken clock
        self._waiting.write(frame)
        if self._waiting.samples >= self._rate_hz:
            yield from self._convert(self._waiting.read())

    def finish(self) -> Iterator[tuple[Samples, Samples]]:
        """Yield the rest."""
        if self._waiting.samples:
            yield from self._convert(self._waiting.read())
        yield from self._convert(None)

    def _convert(self, frame: "AudioFrame | None") -> Iterator[tuple[Samples, Samples]]:
        for converted in self._resampler.resample(frame):
            if converted is not None:
                channels = converted.to_ndarray().reshape(-1, self._channels).astype(np.int16, copy=False)
                yield self._mono(converted, channels), channels

    def _mono(self, frame: "AudioFrame", channels: Samples) -> Samples:
        if self._downmix is not None:
            return np.concatenate([mixed.to_ndarray().reshape(-1) for mixed in self._downmix.resample(frame)])
        if self._channels == 1:
            return channels[:, 0]
        mono: Samples = channels.mean(axis=1, dtype=np.float32).round().astype(np.int16)
        return mono
