"""Corrections: what stays keeps its time, what is new lies where it stands, nonsense is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.transcript import Segment, Transcript, Word
from pipelines.errors import InvalidRequest, NotFound
from pipelines.recognition.corrections import (
    CorrectedWord,
    SegmentCorrection,
    SpeakerEdits,
    SpeakerSplit,
    correct_segments,
    edit_speakers,
    realign,
    talk_times,
)


def segment(number: int, text: str, speaker: str | None = "A", *, start_s: float = 0.0) -> Segment:
    """One word a second."""
    words = tuple(
        Word(text=word, start_s=start_s + place, end_s=start_s + place + 0.8, speaker=speaker, confidence=0.9)
        for place, word in enumerate(text.split())
    )
    end_s = start_s + max(1, len(words))
    return Segment(id=number, start_s=start_s, end_s=end_s, text=text, speaker=speaker, confidence=0.9, words=words)


TALK = Transcript(
    language="en",
    duration_s=20.0,
    segments=(
        segment(0, "Good mourning everybody."),
        segment(1, "Hello to you", "B", start_s=5.0),
        segment(2, "We begin", start_s=10.0),
    ),
)


def corrected(number: int, **change: object) -> Segment:
    [found] = [
        each
        for each in correct_segments(TALK, [SegmentCorrection(id=number, **change)]).segments  # type: ignore[arg-type]
        if each.id == number
    ]
    return found


def test_words_that_stay_keep_their_times_and_new_ones_share_the_span() -> None:
    changed = corrected(0, text="Good morning, everybody!")
    assert changed.text == "Good morning, everybody!"
    assert [(word.text, word.start_s, word.end_s, word.aligned) for word in changed.words] == [
        ("Good", 0.0, 0.8, True),
        ("morning,", 1.0, 1.8, False),
        ("everybody!", 2.0, 2.8, True),
    ]
    assert (changed.words[0].confidence, changed.words[1].confidence) == (0.9, None)


def test_a_word_too_many_and_a_word_too_few() -> None:
    assert [word.text for word in corrected(0, text="Good everybody.").words] == ["Good", "everybody."]
    more = corrected(0, text="Good mourning to you everybody.").words
    assert [(word.text, word.aligned) for word in more] == [
        ("Good", True), ("mourning", True), ("to", False), ("you", False), ("everybody.", True),
    ]  # fmt: skip
    assert 1.8 <= more[2].start_s <= more[3].end_s <= 2.0


def test_words_with_times_of_their_own() -> None:
    words = (CorrectedWord(text="We", start_s=10.1, end_s=10.4), CorrectedWord(text="start"))
    changed = corrected(2, words=words)
    assert (changed.text, changed.words[0].start_s) == ("We start", 10.1)
    with pytest.raises(InvalidRequest, match="run backwards"):
        corrected(2, words=(CorrectedWord(text="We", start_s=11.9, end_s=11.95), CorrectedWord(text="begin")))


def test_words_of_writing_without_spaces_are_joined_as_it_is() -> None:
    assert corrected(2, words=(CorrectedWord(text="会议"), CorrectedWord(text="开始"))).text == "会议开始"


def test_an_empty_text_removes_the_segment_and_the_others_keep_their_ids() -> None:
    left = correct_segments(TALK, [SegmentCorrection(id=1, text="  ")])
    assert [each.id for each in left.segments] == [0, 2]


def test_a_speaker_is_changed_with_the_words_and_taken_away() -> None:
    changed = corrected(1, speaker=" Diane  Keaton ")
    assert {changed.speaker, *(word.speaker for word in changed.words)} == {"Diane Keaton"}
    assert corrected(1, speaker="").speaker is None


@pytest.mark.parametrize(
    "change",
    [
        {"id": 7, "text": "x"},
        {"id": 0, "text": "x" * 20_001},
        {"id": 0, "text": "a\x00b"},
        {"id": 0, "text": "a", "words": (CorrectedWord(text="a"),)},
        {"id": 0, "words": (CorrectedWord(text=" "),)},
        {"id": 0, "speaker": "n" * 10_000},
        {"id": 0, "speaker": "a\x1b[31m"},
    ],
)
def test_nonsense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        correct_segments(TALK, [SegmentCorrection(**change)])  # type: ignore[arg-type]
    assert caught.value.param == "segments"


def test_a_segment_is_named_once() -> None:
    with pytest.raises(InvalidRequest, match="twice"):
        correct_segments(TALK, [SegmentCorrection(id=0, text="a"), SegmentCorrection(id=0, text="b")])


@given(st.lists(st.sampled_from(["Good", "mourning", "everybody.", "to", "you", "ä", "!"]), max_size=12))
def test_times_never_run_backwards_and_never_leave_the_segment(texts: list[str]) -> None:
    own = TALK.segments[0]
    words = realign(own.words, texts, own)
    assert [word.text for word in words] == texts
    moments = [own.start_s, *(moment for word in words for moment in (word.start_s, word.end_s)), own.end_s]
    assert moments == sorted(moments)


def test_speakers_are_split_merged_and_named_in_this_order() -> None:
    edits = SpeakerEdits(
        split=(SpeakerSplit(speaker="A", segment_ids=(2,), name="C"),), merge=(("B", "C"),), rename={"B": "Sheila"}
    )
    edited = edit_speakers(TALK, edits)
    assert [each.speaker for each in edited.segments] == ["A", "Sheila", "Sheila"]
    assert edited.segments[2].words[0].speaker == "Sheila"
    assert talk_times(edited) == {"A": (3.0, 1), "Sheila": (5.0, 2)}


def test_two_names_can_be_exchanged() -> None:
    edited = edit_speakers(TALK, SpeakerEdits(rename={"A": "B", "B": "A"}))
    assert [each.speaker for each in edited.segments] == ["B", "A", "B"]


def test_all_speakers_may_be_one() -> None:
    assert edit_speakers(TALK, SpeakerEdits(merge=(("B", "A"),))).speakers == ("B",)


@pytest.mark.parametrize(
    ("edits", "error", "param"),
    [
        (SpeakerEdits(rename={"Z": "a"}), NotFound, "rename"),
        (SpeakerEdits(rename={"A": " "}), InvalidRequest, "rename"),
        (SpeakerEdits(merge=(("A",),)), InvalidRequest, "merge"),
        (SpeakerEdits(merge=(("A", "A"),)), InvalidRequest, "merge"),
        (SpeakerEdits(split=(SpeakerSplit(speaker="A", segment_ids=(), name="C"),)), InvalidRequest, "split"),
        (SpeakerEdits(split=(SpeakerSplit(speaker="A", segment_ids=(1,), name="C"),)), InvalidRequest, "split"),
    ],
)
def test_impossible_edits_are_refused(edits: SpeakerEdits, error: type[Exception], param: str) -> None:
    with pytest.raises(error) as caught:
        edit_speakers(TALK, edits)
    assert caught.value.param == param  # type: ignore[attr-defined]
