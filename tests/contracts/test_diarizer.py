"""What every Diarizer must do, over the fake, pyannote with the pipeline that ships, and GE2E with its real weights."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.conversations import read_call
from pipelines.domain.samples import Samples
from pipelines.domain.speakers import DiarizationOptions, SpeakerTurn
from pipelines.errors import InvalidRequest
from pipelines.fakes.models import FakeDiarizer
from pipelines.fakes.scripted_speech import Utterance, write_samples
from pipelines.ports.models import Diarizer
from pipelines.speakers.engines.ge2e import Ge2eDiarizer
from pipelines.speakers.engines.pyannote import PyannoteDiarizer
from tests.audio.recordings import read_recording
from tests.real_models import real_model

PIPELINE = Path(__file__).parents[2] / "demo" / "models" / "diarization"

pytestmark = [
    # a recording of a few seconds may not hold as many speakers as were asked for: that is the caller's to know
    pytest.mark.filterwarnings("ignore:\\s*The detected number of speakers:UserWarning"),
]


@dataclass(frozen=True)
class Case:
    diarizer: Diarizer
    conversation: Samples
    """Two people who speak in turn."""


@pytest.fixture(
    scope="module",
    params=["fake", *(pytest.param(name, marks=pytest.mark.engines) for name in ("pyannote", "ge2e", "ge2e-fast"))],
)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param == "fake":
        spoken = [Utterance(start_s=float(n * 3), end_s=n * 3 + 2.0, text="words", speaker=1 - n % 2) for n in range(6)]
        yield Case(FakeDiarizer(), write_samples(spoken))
        return
    if request.param.startswith("ge2e"):
        folder = real_model("ge2e", holding="encoder.safetensors")
        diarizer = asyncio.run(Ge2eDiarizer.load(folder, threads=1, fast=request.param == "ge2e-fast"))
        import pyannote.audio

        call = Path(pyannote.audio.__file__).parent / "sample" / "sample.wav"
        yield Case(diarizer, read_call(call).samples[: 20 * 16_000])
        diarizer.close()
        return
    if not (PIPELINE / "config.yaml").exists():
        pytest.skip("demo/models/diarization is not there: make it with training/diarization")
    engine = asyncio.run(PyannoteDiarizer.load(PIPELINE, name="demo-diarizer", threads=2))
    yield Case(engine, read_recording("support-call.ogg", end_s=20.0))
    engine.close()


def seconds(turns: tuple[SpeakerTurn, ...]) -> float:
    return sum(turn.end_s - turn.start_s for turn in turns)


async def test_turns_are_sorted_and_exclusive_ones_never_overlap(case: Case) -> None:
    found = await case.diarizer.diarize(case.conversation, DiarizationOptions())
    duration_s = len(case.conversation) / 16_000
    assert [turn.start_s for turn in found.turns] == sorted(turn.start_s for turn in found.turns)
    assert all(0 <= turn.start_s < turn.end_s <= duration_s + 0.1 for turn in found.turns)
    assert all(first.end_s <= second.start_s for first, second in pairwise(found.exclusive_turns))
    assert seconds(found.exclusive_turns) > duration_s / 4


async def test_speakers_are_named_by_first_appearance(case: Case) -> None:
    found = await case.diarizer.diarize(case.conversation, DiarizationOptions(num_speakers=2))
    assert found.speakers == ("SPEAKER_00", "SPEAKER_01")
    assert found.turns[0].speaker == "SPEAKER_00"
    assert {turn.speaker for turn in found.exclusive_turns} <= set(found.speakers)


async def test_a_known_number_of_speakers_is_kept(case: Case) -> None:
    for options in (DiarizationOptions(num_speakers=1), DiarizationOptions(max_speakers=1)):
        assert (await case.diarizer.diarize(case.conversation, options)).speakers == ("SPEAKER_00",)


@pytest.mark.parametrize("seconds_long", [0.0, 0.05, 3.0])
async def test_silence_has_no_turns(case: Case, seconds_long: float) -> None:
    silence = np.zeros(round(seconds_long * 16_000), dtype=np.int16)
    found = await case.diarizer.diarize(silence, DiarizationOptions())
    assert found.turns == found.exclusive_turns == ()


async def test_numbers_that_contradict_each_other_are_refused(case: Case) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await case.diarizer.diarize(case.conversation, DiarizationOptions(min_speakers=3, max_speakers=2))
    assert refused.value.param == "min_speakers"


async def test_samples_are_not_modified_and_may_be_read_only(case: Case) -> None:
    frozen = case.conversation[: 16_000 * 12].copy()
    frozen.flags.writeable = False
    before = frozen.copy()
    await case.diarizer.diarize(frozen, DiarizationOptions())
    assert np.array_equal(frozen, before)


async def test_the_same_recording_gives_the_same_turns(case: Case) -> None:
    short = case.conversation[: 16_000 * 12]
    first, second = await asyncio.gather(*(case.diarizer.diarize(short, DiarizationOptions()) for _ in range(2)))
    assert first == second


async def test_it_says_what_it_is(case: Case) -> None:
    info = await case.diarizer.info()
    assert info.role == "diarizer"
    assert info.checkpoint_hash is not None
    assert info.checkpoint_hash.startswith("sha256:")
