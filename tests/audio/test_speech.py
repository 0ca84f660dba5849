"""The incremental detector against faster-whisper's own, which hears a recording at once."""

import numpy as np
import pytest

from pipelines.audio.speech import SileroDetector
from pipelines.domain.audio import SAMPLE_RATE_HZ, TimeSpan, WindowingOptions
from pipelines.domain.samples import Samples, as_float
from tests.audio.recordings import read_recording

pytestmark = pytest.mark.engines


def heard_at_once(samples: Samples, options: WindowingOptions) -> list[tuple[int, int]]:
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    spans = get_speech_timestamps(
        as_float(samples),
        VadOptions(
            threshold=options.threshold,
            min_silence_duration_ms=options.min_silence_duration_ms,
            speech_pad_ms=options.speech_pad_ms,
        ),
    )
    return [(span["start"], span["end"]) for span in spans]


def heard_in_blocks(samples: Samples, options: WindowingOptions) -> list[tuple[int, int]]:
    """Return spans in samples, the pieces of one span joined."""
    detector, spans = SileroDetector(options), list[TimeSpan]()
    for start in range(0, len(samples), 50_000):
        spans += detector.push(samples[start : start + 50_000])
    joined: list[tuple[int, int]] = []
    for span in [*spans, *detector.finish()]:
        start, end = round(span.start_s * SAMPLE_RATE_HZ), round(span.end_s * SAMPLE_RATE_HZ)
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


@pytest.mark.parametrize(
    "options",
    [
        WindowingOptions(),
        WindowingOptions(min_silence_duration_ms=160, speech_pad_ms=100),
        WindowingOptions(min_silence_duration_ms=2000, speech_pad_ms=30, threshold=0.6),
    ],
)
def test_it_hears_what_faster_whisper_hears(options: WindowingOptions) -> None:
    pause = np.zeros(5 * SAMPLE_RATE_HZ, dtype=np.int16)
    samples = np.concatenate(
        [read_recording("biology-lecture.ogg", end_s=50.0), pause, read_recording("support-call.ogg", end_s=20.0)]
    )
    expected, found = heard_at_once(samples, options), heard_in_blocks(samples, options)
    assert len(found) == len(expected)
    assert np.abs(np.array(found) - np.array(expected)).max() <= 1


def test_speech_at_the_very_end_is_not_lost() -> None:
    samples = read_recording("biology-lecture.ogg", end_s=3.0)
    assert heard_in_blocks(samples, WindowingOptions()) == heard_at_once(samples, WindowingOptions())
    assert heard_in_blocks(samples, WindowingOptions())[-1][1] == len(samples)
