"""Splitting never loses a turn, and keeps to its budget."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.transcript import Segment
from pipelines.domain.understanding import TranscriptPart
from pipelines.language.text import split_transcript, split_turns
from tests.language.spoken_calls import SEGMENTS, SUPPORT_CALL, said, words_of


def characters(segment: Segment) -> int:
    return len(segment.text) + 1


def whole(segments: tuple[Segment, ...]) -> list[TranscriptPart]:
    return [TranscriptPart(index=0, segments=segments)] if segments else []


@given(segments=SEGMENTS, budget=st.integers(min_value=1, max_value=120))
def test_no_turn_is_lost_or_reordered(segments: tuple[Segment, ...], budget: int) -> None:
    parts = split_transcript(segments, budget, characters)
    assert words_of(parts) == words_of(whole(segments))
    assert [part.index for part in parts] == list(range(len(parts)))
    assert all(part.segments for part in parts)


@given(segments=SEGMENTS, budget=st.integers(min_value=45, max_value=300))
def test_parts_fit_the_budget(segments: tuple[Segment, ...], budget: int) -> None:
    for part in split_transcript(segments, budget, characters):
        assert sum(map(characters, part.segments)) <= budget


@given(segments=SEGMENTS, budget=st.integers(min_value=1, max_value=120))
def test_times_stay_in_order(segments: tuple[Segment, ...], budget: int) -> None:
    pieces = [piece for part in split_transcript(segments, budget, characters) for piece in part.segments]
    for piece, following in pairwise(pieces):
        assert piece.start_s <= piece.end_s <= following.start_s + 1e-9


@given(segments=SEGMENTS, longest=st.integers(min_value=1, max_value=200))
def test_turns_have_one_speaker_and_lose_nothing(segments: tuple[Segment, ...], longest: int) -> None:
    turns = split_turns(segments, longest)
    assert words_of(turns) == words_of(whole(segments))
    assert all(len({segment.speaker for segment in turn.segments}) == 1 for turn in turns)
    assert [turn.index for turn in turns] == list(range(len(turns)))


def test_parts_end_where_the_speaker_changes() -> None:
    parts = split_transcript(SUPPORT_CALL.segments, 170, characters)
    assert len(parts) > 1
    for part, following in pairwise(parts):
        assert part.segments[-1].speaker != following.segments[0].speaker


def test_a_long_turn_is_cut_between_its_segments() -> None:
    lecture = said(*[(None, f"Sentence number {place} of the lecture.") for place in range(10)])
    parts = split_transcript(lecture.segments, 80, characters)
    assert [len(part.segments) for part in parts] == [2] * 5
    assert parts[1].start_s == lecture.segments[2].start_s
    assert parts[1].end_s == lecture.segments[3].end_s


def test_a_long_text_without_spaces_is_cut_between_characters() -> None:
    segment = Segment(id=0, start_s=0.0, end_s=8.0, text="细胞是生命的基本单位" * 20)
    parts = split_transcript((segment,), 60, characters)
    assert len(parts) > 1
    assert "".join(piece.text for part in parts for piece in part.segments) == segment.text


def test_nothing_gives_nothing() -> None:
    assert split_transcript((), 10, characters) == ()


def test_a_budget_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        split_transcript(SUPPORT_CALL.segments, 0, characters)
