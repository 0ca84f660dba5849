"""How two channels relate is told from their samples alone."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.audio.channels import ChannelMeter, choose_channels
from pipelines.domain.audio import ChannelMode, ChannelRelation, ChannelReport
from pipelines.domain.samples import Samples
from pipelines.errors import InvalidRequest

RATE_HZ = 16_000
CHANCE = np.random.default_rng(7)
Voice = NDArray[np.float64]


def voice(seconds: float = 20.0, *, speaks: Callable[[int], bool] = lambda second: True) -> Voice:
    noise = CHANCE.normal(0.0, 3_000.0, round(seconds * RATE_HZ))
    spoken: Voice = noise * np.repeat([speaks(second) for second in range(round(seconds))], RATE_HZ)
    return spoken


def stereo(left: Voice, right: Voice) -> Samples:
    return np.stack([left, right], axis=1).round().clip(-32_768, 32_767).astype(np.int16)


def heard(channels: Samples) -> ChannelReport:
    meter = ChannelMeter()
    for block in np.array_split(channels, 37):
        meter.add(block)
    return meter.report()


AGENT, CALLER = voice(speaks=lambda second: second % 4 < 2), voice(speaks=lambda second: second % 4 >= 2)
ROOM, OTHER = voice(), voice()
CASES: dict[str, tuple[Samples, ChannelRelation]] = {
    "a call": (stereo(AGENT, CALLER), "two_speakers"),
    "a call with crosstalk of 20 dB": (stereo(AGENT + 0.1 * CALLER, CALLER + 0.1 * AGENT), "two_speakers"),
    "a call with line noise": (stereo(AGENT + voice() * 0.01, CALLER + voice() * 0.01), "two_speakers"),
    "dual mono": (stereo(ROOM, ROOM), "same"),
    "dual mono, one of them 9 dB weaker": (stereo(ROOM, 0.35 * ROOM), "same"),
    "opposite phase": (stereo(ROOM, -0.8 * ROOM), "opposite"),
    "nothing on the left": (stereo(0 * ROOM, ROOM), "one_silent"),
    "line noise on the left": (stereo(0.002 * OTHER, ROOM), "one_silent"),
    "a room with two microphones": (stereo(ROOM + 0.4 * OTHER, 0.4 * ROOM + OTHER), "stereo"),
    "nothing at all": (stereo(0 * ROOM, 0 * ROOM), "stereo"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_relation_is_recognized(name: str) -> None:
    channels, relation = CASES[name]
    assert heard(channels).relation == relation


@pytest.mark.parametrize(
    ("name", "mode", "channels", "codes"),
    [
        ("a call", "auto", (0, 1), ()),
        ("a call", "mix", (), ()),
        ("a room with two microphones", "auto", (), ()),
        ("a room with two microphones", "split", (0, 1), ()),
        ("dual mono", "auto", (), ()),
        ("dual mono", "split", (), ("channels_not_split",)),
        ("opposite phase", "split", (), ("channels_not_split",)),
        ("nothing on the left", "auto", (1,), ("channels_not_split",)),
    ],
)
def test_what_is_heard_follows_from_it_and_is_said(
    name: str, mode: ChannelMode, channels: tuple[int, ...], codes: tuple[str, ...]
) -> None:
    choice = choose_channels(mode, 2, heard(CASES[name][0]))
    assert choice.heard == channels
    assert tuple(warning.code for warning in choice.warnings) == codes


def test_one_channel_cannot_be_split() -> None:
    with pytest.raises(InvalidRequest) as refused:
        choose_channels("split", 1, None)
    assert refused.value.param == "channels"
    assert choose_channels("auto", 6, None).heard == ()
