"""What every Diarizer must do, over the fake, pyannote with the pipeline that ships, and GE2E with its real weights."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.conversations import read_call
from pipelines.audio.reader import cut_pieces
from pipelines.domain.audio import PieceCut, RecordingPiece
from pipelines.domain.samples import Samples
from pipelines.domain.speakers import Diarization, DiarizationOptions, SpeakerTurn
from pipelines.errors import InvalidRequest, NotAvailable
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
    params=[
        "fake",
        "fake in pieces",
        *(pytest.param(name, marks=pytest.mark.engines) for name in ("pyannote", "ge2e", "ge2e-fast")),
    ],
)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param.startswith("fake"):
        spoken = [Utterance(start_s=float(n * 3), end_s=n * 3 + 2.0, text="words", speaker=1 - n % 2) for n in range(6)]
        pieces = PieceCut(own_samples=5 * 16_000, after_samples=3 * 16_000) if "pieces" in request.param else None
        yield Case(FakeDiarizer(pieces=pieces), write_samples(spoken))
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


async def in_pieces(diarizer: Diarizer, samples: Samples, cut: PieceCut, options: DiarizationOptions) -> Diarization:
    """Hear the pieces in no order, with samples that nobody may write to."""
    heard = {}
    for piece in reversed(list(cut_pieces(np.array_split(samples, 7), cut))):
        own = np.asarray(piece.samples)
        own.flags.writeable = False
        heard[piece.index] = await diarizer.hear(own, replace(piece, samples=None))
    return await diarizer.tell_apart([heard[index] for index in sorted(heard)], options)


def differing_s(first: Diarization, second: Diarization, duration_s: float) -> float:
    """Return the seconds in which not the same speaker has the word, to 10 ms."""
    words = []
    for found in (first, second):
        said = np.full(round(duration_s * 100), "", dtype="<U12")
        for turn in found.exclusive_turns:
            said[round(turn.start_s * 100) : round(turn.end_s * 100)] = turn.speaker
        words.append(said)
    return float(np.count_nonzero(words[0] != words[1])) / 100


@pytest.mark.parametrize("speakers", [None, 2])
async def test_pieces_give_what_the_whole_gives(case: Case, speakers: int | None) -> None:
    cut = (await case.diarizer.info()).pieces
    piece = RecordingPiece(index=0, start=0, end=16_000, samples_start=0, samples=None)
    if cut is None:
        with pytest.raises(NotAvailable):
            await case.diarizer.hear(case.conversation[:16_000], piece)
        return
    options = DiarizationOptions(num_speakers=speakers)
    # As many steps of the engine's own grid as make pieces of about 6 s, so that there are several.
    grid = np.gcd(cut.own_samples, max(1, cut.before_samples)) if cut.before_samples else cut.own_samples
    steps = max(1, round(6 * 16_000 / grid)) if grid < 6 * 16_000 else 1
    short = replace(cut, own_samples=min(cut.own_samples, int(grid) * steps))
    whole = await case.diarizer.diarize(case.conversation, options)
    found = await in_pieces(case.diarizer, case.conversation, short, options)
    duration_s = len(case.conversation) / 16_000
    assert found.speakers == whole.speakers
    assert differing_s(found, whole, duration_s) <= 0.02 * duration_s


async def test_silent_pieces_have_no_turns_and_bad_numbers_are_refused(case: Case) -> None:
    cut = (await case.diarizer.info()).pieces
    if cut is None:
        return
    silence = np.zeros(4 * 16_000, dtype=np.int16)
    assert (await in_pieces(case.diarizer, silence, cut, DiarizationOptions())).turns == ()
    with pytest.raises(InvalidRequest):
        await case.diarizer.tell_apart([], DiarizationOptions(min_speakers=3, max_speakers=2))
    assert (await case.diarizer.tell_apart([], DiarizationOptions())).turns == ()
