"""How the two channels of a recording relate, and which of them are heard: pure functions over sums.

A call that was recorded with one speaker a channel is told from an ordinary stereo recording by whose level dominates:
there nearly always one channel is far louder than the other, now this one, now that.
"""

import numpy as np

from pipelines.domain.audio import (
    SAMPLE_RATE_HZ,
    AudioWarning,
    ChannelChoice,
    ChannelMode,
    ChannelRelation,
    ChannelReport,
)
from pipelines.domain.samples import Samples
from pipelines.errors import InvalidRequest

_FRAME_SAMPLES = SAMPLE_RATE_HZ // 10
_FLOOR = 33.0
"""Quieter than −60 dBFS (root mean square of a tenth of a second), nothing is said in a channel."""
_SAME = 0.98
_OPPOSITE = -0.9
"""Correlation from which two channels are one, and below which they are one turned upside down."""
_DOMINATING = 10 ** (12 / 10)
"""Power ratio (12 dB) from which one channel has a frame to itself: crosstalk of a headset is weaker."""
_ONE_SIDED_SHARE = 0.7
_LEAST_FRAMES, _LEAST_SHARE = 5, 0.01
"""Each channel must have had so much of the sound to itself."""


class ChannelMeter:
    """Sums over two channels in the order of time; memory does not grow."""

    def __init__(self) -> None:
        self._rest = np.zeros((0, 2), dtype=np.int16)
        self._powers = np.zeros(2)
        self._cross = 0.0
        self._active, self._own = 0, np.zeros(2, dtype=np.int64)

    def add(self, channels: Samples) -> None:
        """Take the next samples, shape ``(n, 2)``; others are no two channels, and are not heard."""
        if channels.shape[1] != 2:
            return
        block = np.concatenate([self._rest, channels])
        whole = len(block) - len(block) % _FRAME_SAMPLES
        self._rest = block[whole:]
        if not whole:
            return
        frames = block[:whole].astype(np.float64).reshape(-1, _FRAME_SAMPLES, 2)
        powers = np.square(frames).mean(axis=1)
        active = powers[powers.max(axis=1) > _FLOOR**2]
        quieter = np.maximum(active[:, ::-1], 1.0)
        self._own += np.count_nonzero(active > _DOMINATING * quieter, axis=0)
        self._active += len(active)
        self._powers += np.square(frames).sum(axis=(0, 1))
        self._cross += float((frames[..., 0] * frames[..., 1]).sum())

    def report(self) -> ChannelReport:
        """Say how the channels relate."""
        product = float(np.sqrt(self._powers.prod()))
        correlation = self._cross / product if product else 0.0
        return ChannelReport(
            relation=self._relation(correlation),
            correlation=round(correlation, 3),
            louder=int(self._powers.argmax()),
            one_sided=round(float(self._own.sum() / self._active), 3) if self._active else 0.0,
        )

    def _relation(self, correlation: float) -> ChannelRelation:
        least = max(_LEAST_FRAMES, _LEAST_SHARE * self._active)
        one_sided = self._own.sum() >= _ONE_SIDED_SHARE * self._active
        if self._active and one_sided and self._own.max() >= least:
            return "two_speakers" if self._own.min() >= least else "one_silent"
        if correlation >= _SAME:
            return "same"
        return "opposite" if correlation <= _OPPOSITE else "stereo"


_SAID: dict[ChannelRelation, str] = {
    "same": "both channels hold the same: they were mixed",
    "opposite": "the channels hold the same with opposite phase: one of them was taken",
    "one_silent": "one channel is silent: the other one was taken",
    "two_speakers": "each channel holds a speaker of its own: they were transcribed apart",
    "stereo": "both channels hold the same speakers: they were mixed",
}


def choose_channels(mode: ChannelMode, channels: int, report: ChannelReport | None) -> ChannelChoice:
    """Return which channels are heard, each for itself, and what the recording's owner should know about it.

    ``report``: of two channels; None where nobody looked. Raises InvalidRequest for ``split`` of what has not two.
    """
    if mode == "split" and channels != 2:
        raise InvalidRequest("only a recording of two channels can be split", "channels")
    if mode == "mix" or report is None:
        return ChannelChoice()
    relation = report.relation
    heard: tuple[int, ...] = ()
    if relation == "two_speakers" or (relation == "stereo" and mode == "split"):
        heard = (0, 1)
    elif relation == "one_silent":
        heard = (report.louder,)
    # Of opposite phase, reading takes the louder channel where it must, and says so.
    told = relation == "one_silent" or (mode == "split" and relation in ("same", "opposite"))
    warnings = (AudioWarning(code="channels_not_split", message=_SAID[relation]),) if told else ()
    return ChannelChoice(heard=heard, relation=relation, warnings=warnings)
