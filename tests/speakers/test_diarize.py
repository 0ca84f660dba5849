import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence

import pytest

from pipelines.audio.reader import cut_pieces
from pipelines.domain.audio import PieceCut, RecordingPiece
from pipelines.domain.samples import Samples
from pipelines.domain.speakers import Diarization, DiarizationOptions
from pipelines.errors import DiarizationTooLong, InvalidRequest, ModelUnavailable, Overloaded, TooLarge
from pipelines.fakes.models import FakeDiarizer
from pipelines.fakes.scripted_speech import Utterance, write_samples
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.jobs.clock import JobClock
from pipelines.speakers.diarize import MAX_WHOLE_S, KeptPieces, diarize_recording

CONVERSATION = write_samples(
    [
        Utterance(start_s=0.5, end_s=1.0, text="hello", speaker=3),
        Utterance(start_s=1.5, end_s=2.0, text="hi", speaker=1),
    ]
)


class OneRecording:
    """A RecordingReader of one recording, as far as diarization asks."""

    async def samples(self, artifact: str, *, max_duration_s: float, lead: Sequence[str] = ()) -> Samples:
        assert artifact == "a/job-1/recording"
        if len(CONVERSATION) / 16_000 > max_duration_s:
            raise TooLarge("too long")
        return CONVERSATION


async def diarize(**numbers: int | None) -> tuple[str, ...]:
    found = await diarize_recording(
        OneRecording(),  # type: ignore[arg-type]
        FakeDiarizer(),
        "a/job-1/recording",
        DiarizationOptions(**numbers),
    )
    return found.speakers


async def test_a_stored_recording_is_diarized() -> None:
    assert await diarize() == ("SPEAKER_00", "SPEAKER_01")
    assert await diarize(num_speakers=1) == ("SPEAKER_00",)


@pytest.mark.parametrize(
    ("numbers", "field"),
    [
        ({"num_speakers": 0}, "num_speakers"),
        ({"max_speakers": -1}, "max_speakers"),
        ({"min_speakers": 3, "max_speakers": 2}, "min_speakers"),
    ],
)
async def test_impossible_numbers_are_refused_before_decoding(numbers: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await diarize(**numbers)
    assert refused.value.param == field


async def test_a_recording_beyond_the_limit_is_too_long_to_diarize() -> None:
    with pytest.raises(DiarizationTooLong):
        await diarize_recording(
            OneRecording(),  # type: ignore[arg-type]
            FakeDiarizer(),
            "a/job-1/recording",
            max_duration_s=1.0,
        )


RATE_HZ = 16_000
PIECES = PieceCut(own_samples=10 * RATE_HZ, after_samples=3 * RATE_HZ)
MEETING = [Utterance(start_s=3.0 * n + 0.5, end_s=3.0 * n + 2, text="words", speaker=n % 3) for n in range(20)]


class Cut:
    """A reader of one meeting of 60 s, which counts the pieces that are held."""

    def __init__(self) -> None:
        self.produced = 0

    async def pieces(
        self, artifact: str, cut: PieceCut, *, max_duration_s: float, skip: Collection[int] = ()
    ) -> AsyncGenerator[RecordingPiece, None]:
        for piece in cut_pieces([write_samples(MEETING)], cut):
            if piece.index not in skip:
                self.produced += 1
                yield piece


async def diarize_meeting(diarizer: FakeDiarizer, kept: KeptPieces | None = None, at_once: int = 2) -> Diarization:
    return await diarize_recording(Cut(), diarizer, "key", kept=kept, at_once=at_once)  # type: ignore[arg-type]


async def test_in_pieces_it_is_what_it_is_as_a_whole() -> None:
    diarizer = FakeDiarizer(pieces=PIECES)
    whole = await diarizer.diarize(write_samples(MEETING), DiarizationOptions())
    assert await diarize_meeting(diarizer) == whole
    assert sorted(diarizer.heard) == [0, 1, 2, 3, 4, 5]


async def test_after_a_restart_only_what_was_in_flight_is_heard_again() -> None:
    class Dies(FakeDiarizer):
        async def hear(self, samples: object, piece: RecordingPiece) -> bytes:
            if piece.index == 3:
                raise ModelUnavailable("gone")
            return await super().hear(samples, piece)

    kept = KeptPieces(artifacts=InMemoryArtifactStore(), folder="a/job-1/diarize")
    with pytest.raises(ModelUnavailable):
        await diarize_meeting(Dies(pieces=PIECES), kept, at_once=1)
    again = FakeDiarizer(pieces=PIECES)
    assert await diarize_meeting(again, kept) == await diarize_meeting(FakeDiarizer(pieces=PIECES))
    assert sorted(again.heard) == [3, 4, 5]
    await kept.forget()
    assert await kept.artifacts.list_keys("a/job-1") == ()


async def test_no_more_pieces_are_held_than_allowed() -> None:
    held, most, go_on = 0, 0, asyncio.Event()

    class Counting(FakeDiarizer):
        async def hear(self, samples: object, piece: RecordingPiece) -> bytes:
            nonlocal held, most
            held, most = held + 1, max(most, held + 1)
            if held == 3:
                go_on.set()
            await go_on.wait()
            held -= 1
            return await super().hear(samples, piece)

    await diarize_meeting(Counting(pieces=PIECES), at_once=3)
    assert most == 3


async def test_a_busy_model_is_waited_for_piece_by_piece() -> None:
    class Busy(FakeDiarizer):
        refused = 0

        async def hear(self, samples: object, piece: RecordingPiece) -> bytes:
            if self.refused < 2:
                self.refused += 1
                raise Overloaded("busy", None, 0.0)
            return await super().hear(samples, piece)

    diarizer = Busy(pieces=PIECES)
    clock = JobClock()
    found = await diarize_recording(Cut(), diarizer, "key", call_model=clock.wait_out)  # type: ignore[arg-type]
    assert len(found.turns) == 20
    assert diarizer.refused == 2


async def test_what_takes_no_pieces_has_a_limit_of_its_own() -> None:
    class Endless(OneRecording):
        async def samples(self, artifact: str, *, max_duration_s: float, lead: Sequence[str] = ()) -> Samples:
            assert max_duration_s == MAX_WHOLE_S
            raise TooLarge("too long")

    with pytest.raises(DiarizationTooLong, match="7200 s"):
        await diarize_recording(Endless(), FakeDiarizer(), "key")  # type: ignore[arg-type]
