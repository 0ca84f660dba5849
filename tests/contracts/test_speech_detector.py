"""What every SpeechDetector owes, over the fake and over Silero VAD."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from pipelines.audio.speech import SileroDetector
from pipelines.domain.audio import MAX_SPEECH_PIECE_S, SAMPLE_RATE_HZ, TimeSpan, WindowingOptions
from pipelines.domain.samples import Samples
from pipelines.fakes.models import FakeSpeechDetector
from pipelines.fakes.scripted_speech import Utterance, write_samples
from pipelines.ports.audio import SpeechDetector
from tests.audio.recordings import read_recording


@dataclass(frozen=True)
class Case:
    new: Callable[[], SpeechDetector]
    speech: Samples
    """About forty seconds, with pauses."""


@pytest.fixture(scope="module", params=["fake", pytest.param("silero", marks=pytest.mark.engines)])
def case(request: pytest.FixtureRequest) -> Case:
    if request.param == "fake":
        said = [
            Utterance(start_s=s, end_s=s + length, text="w") for s, length in ((1.0, 2.0), (6.0, 25.0), (33.0, 4.0))
        ]
        return Case(FakeSpeechDetector, write_samples(said, duration_s=40.0))
    return Case(lambda: SileroDetector(WindowingOptions()), read_recording("biology-lecture.ogg", end_s=40.0))


def detect(detector: SpeechDetector, samples: Samples, *, block: int) -> list[TimeSpan]:
    spans: list[TimeSpan] = []
    for start in range(0, len(samples), block):
        spans += detector.push(samples[start : start + block])
    return [*spans, *detector.finish()]


def pieces_joined(spans: Sequence[TimeSpan]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for span in spans:
        if joined and joined[-1][1] == span.start_s:
            joined[-1] = (joined[-1][0], span.end_s)
        else:
            joined.append((span.start_s, span.end_s))
    return joined


def test_spans_are_sorted_apart_and_inside_the_recording(case: Case) -> None:
    spans = detect(case.new(), case.speech, block=64_000)
    assert spans
    assert spans[0].start_s >= 0
    assert spans[-1].end_s <= len(case.speech) / SAMPLE_RATE_HZ
    assert all(span.duration_s > 0 for span in spans)
    assert all(before.end_s <= after.start_s for before, after in pairwise(spans))


def test_speech_that_goes_on_comes_in_pieces(case: Case) -> None:
    for span in detect(case.new(), case.speech, block=16_000):
        assert span.duration_s <= MAX_SPEECH_PIECE_S + 2.0


@pytest.mark.parametrize("block", [1_000, 7_777, 64_000, 10_000_000])
def test_the_size_of_the_blocks_does_not_matter(case: Case, block: int) -> None:
    expected = pieces_joined(detect(case.new(), case.speech, block=16_000))
    found = pieces_joined(detect(case.new(), case.speech, block=block))
    assert np.allclose(found, expected, atol=0.04)


def test_silence_has_no_speech(case: Case) -> None:
    assert detect(case.new(), np.zeros(5 * SAMPLE_RATE_HZ, dtype=np.int16), block=16_000) == []


def test_no_samples_have_no_speech(case: Case) -> None:
    assert list(case.new().finish()) == []


def test_blocks_stay_as_they_are(case: Case) -> None:
    block = case.speech[:64_000].copy()
    block.flags.writeable = False
    case.new().push(block)
    assert np.array_equal(block, case.speech[:64_000])
