from collections.abc import Sequence

import pytest

from pipelines.domain.samples import Samples
from pipelines.domain.speakers import DiarizationOptions
from pipelines.errors import DiarizationTooLong, InvalidRequest, TooLarge
from pipelines.fakes.models import FakeDiarizer
from pipelines.fakes.scripted_speech import Utterance, write_samples
from pipelines.speakers.diarize import diarize_recording

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
