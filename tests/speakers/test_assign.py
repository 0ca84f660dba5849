import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.speakers import Diarization, SpeakerTurn
from pipelines.domain.transcript import Segment, Transcript, Word
from pipelines.speakers.assign import AttributionOptions, assign_speakers, speaker_at
from tests.speakers.transcripts import diarization, segment, transcript


def attributed(made: Transcript) -> list[tuple[str | None, str]]:
    return [(piece.speaker, piece.text) for piece in made.segments]


def test_a_segment_is_cut_at_the_word_where_the_speaker_changes() -> None:
    spoken = transcript(segment("Are you ready? Yes, I am.", 0, 6, timed=True))
    made = assign_speakers(spoken, diarization((0.0, 2.9, 0), (3.1, 6.0, 1)))
    assert attributed(made) == [("SPEAKER_00", "Are you ready?"), ("SPEAKER_01", "Yes, I am.")]
    assert [(piece.id, piece.start_s, piece.end_s) for piece in made.segments] == [(0, 0, 3), (1, 3, 6)]
    assert [word.speaker for word in made.segments[1].words] == ["SPEAKER_01"] * 3
    assert made.segments[0].confidence == pytest.approx(0.9)


def test_without_word_times_a_segment_is_cut_at_a_word_border_in_proportion() -> None:
    spoken = transcript(segment("one two three four five six seven eight", 10, 18))
    made = assign_speakers(spoken, diarization((10.0, 14.0, 0), (14.0, 18.0, 1)))
    assert attributed(made) == [("SPEAKER_00", "one two three four"), ("SPEAKER_01", "five six seven eight")]
    assert made.segments[0].words == ()
    assert made.segments[0].start_s == 10
    assert made.segments[1].end_s == 18
    assert made.segments[0].end_s == pytest.approx(14, abs=0.5)


@pytest.mark.parametrize(
    ("text", "turns", "expected"),
    [
        # a single word of somebody else inside a sentence is the boundary's fault
        ("we met on Monday in town", [(0, 1, 0), (1, 1.5, 1), (1.5, 3, 0)], ["we met on Monday in town"]),
        # but a whole sentence of one word is an answer
        ("You came. Yes. We all did", [(0, 1, 0), (1, 1.5, 1), (1.5, 3, 0)], ["You came.", "Yes.", "We all did"]),
        # and two words are more than a flicker
        ("we met on a Monday there", [(0, 1, 0), (1, 2, 1), (2, 3, 0)], ["we met", "on a", "Monday there"]),
        # the first and the last word of a segment stand between two speakers, not inside one
        ("so we met on Monday there", [(0, 0.5, 1), (0.5, 3, 0)], ["so", "we met on Monday there"]),
    ],
)
def test_a_flicker_is_smoothed_only_inside_a_sentence(
    text: str, turns: list[tuple[float, float, int]], expected: list[str]
) -> None:
    made = assign_speakers(transcript(segment(text, 0, 3, timed=True)), diarization(*turns))
    assert [piece.text for piece in made.segments] == expected


@pytest.mark.parametrize(
    ("text", "turns", "expected"),
    [
        # a turn that begins late or ends early by some words of a sentence
        (
            "The app is stable but payment is slow.",
            [(0, 1, 0), (1, 4, 1)],
            ["1 The app is stable but payment is slow."],
        ),
        ("It is nine thousand dollars. Good.", [(0, 2, 0), (2, 3, 1)], ["0 It is nine thousand dollars.", "1 Good."]),
        # a sentence that two people share evenly, and one of an unknown length, stay as they were heard
        ("We could perhaps no we cannot.", [(0, 1.5, 0), (1.5, 3, 1)], ["0 We could perhaps", "1 no we cannot."]),
        ("it is nine thousand dollars well", [(0, 2, 0), (2, 3, 1)], ["0 it is nine thousand", "1 dollars well"]),
    ],
)
def test_a_sentence_that_somebody_says_nearly_all_of_is_theirs(
    text: str, turns: list[tuple[float, float, int]], expected: list[str]
) -> None:
    made = assign_speakers(transcript(segment(text, 0, turns[-1][1], timed=True)), diarization(*turns))
    assert [f"{(piece.speaker or '')[-1]} {piece.text}" for piece in made.segments] == expected


def test_a_pause_inside_a_sentence_ends_what_belongs_together() -> None:
    words = [
        ("So", 0.0, 0.4),
        ("we", 0.4, 0.7),
        ("yes", 1.4, 1.7),
        ("agree", 1.7, 2.4),
        ("to", 2.4, 2.6),
        ("it.", 2.6, 3.0),
    ]
    timed = tuple(Word(text=text, start_s=start_s, end_s=end_s) for text, start_s, end_s in words)
    spoken = Segment(id=0, start_s=0, end_s=3, text=" ".join(word.text for word in timed), words=timed)
    made = assign_speakers(transcript(spoken), diarization((0.0, 1.0, 0), (1.0, 3.0, 1)))
    assert attributed(made) == [("SPEAKER_00", "So we"), ("SPEAKER_01", "yes agree to it.")]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # a sentence's first word goes with what follows, across the border between turns at 1.0 s
        ([("We", 0.9, 0.9), ("need", 1.1, 2.0)], ["1 We need"]),
        ([("So?", 0.2, 0.8), ("We", 0.9, 0.9), ("need", 1.1, 2.0)], ["0 So?", "1 We need"]),
        # any other word goes with what comes before it
        ([("Are", 0.2, 0.8), ("we?", 1.1, 1.1), ("Yes", 1.2, 2.0)], ["0 Are we?", "1 Yes"]),
    ],
)
def test_a_word_without_duration_goes_with_its_sentence(
    said: list[tuple[str, float, float]], expected: list[str]
) -> None:
    timed = tuple(Word(text=text, start_s=start_s, end_s=end_s) for text, start_s, end_s in said)
    spoken = Segment(id=0, start_s=0.0, end_s=2.0, text=" ".join(word.text for word in timed), words=timed)
    made = assign_speakers(transcript(spoken), diarization((0.0, 1.0, 0), (1.0, 2.0, 1)))
    assert [f"{(piece.speaker or '?')[-1]} {piece.text}" for piece in made.segments] == expected


def test_a_single_word_that_takes_long_is_no_flicker() -> None:
    spoken = transcript(segment("we met absolutely in town", 0, 5, timed=True))
    made = assign_speakers(spoken, diarization((0, 2, 0), (2, 3, 1), (3, 5, 0)))
    assert len(made.segments) == 3


def test_a_word_between_turns_goes_to_the_nearest_one_in_reach() -> None:
    turns = diarization((0.0, 1.0, 0), (5.0, 6.0, 1)).exclusive_turns
    assert speaker_at(1.2, 1.4, turns, 2.0) == "SPEAKER_00"
    assert speaker_at(4.0, 4.5, turns, 2.0) == "SPEAKER_01"
    assert speaker_at(2.0, 2.0, turns, 0.5) is None
    assert speaker_at(0.5, 0.5, turns, 0.0) == "SPEAKER_00"
    assert speaker_at(0.4, 5.2, turns, 0.0) == "SPEAKER_00"
    assert speaker_at(9.0, 9.5, turns, 2.0) is None


def test_words_out_of_reach_stay_with_the_words_around_them() -> None:
    spoken = transcript(segment("first words then a long rest", 0, 12, timed=True))
    made = assign_speakers(spoken, diarization((0.0, 4.0, 0)))
    assert attributed(made) == [("SPEAKER_00", "first words then a long rest")]


def test_nothing_is_invented_where_nobody_was_heard() -> None:
    spoken = transcript(segment("hello", 0, 1), segment("far away", 60, 61, number=1))
    assert assign_speakers(spoken, diarization()) == spoken
    made = assign_speakers(spoken, diarization((0.0, 1.0, 0)))
    assert [piece.speaker for piece in made.segments] == ["SPEAKER_00", None]


def test_text_without_spaces_keeps_its_writing_when_cut_between_timed_words() -> None:
    spoken = Segment(
        id=0,
        start_s=0,
        end_s=4,
        text="你好吗我很好",
        words=tuple(
            Word(text=text, start_s=start, end_s=start + 1.0)
            for text, start in (("你好", 0.0), ("吗", 1.0), ("我", 2.0), ("很好", 3.0))
        ),
    )
    made = assign_speakers(transcript(spoken), diarization((0.0, 2.0, 0), (2.0, 4.0, 1)))
    assert attributed(made) == [("SPEAKER_00", "你好吗"), ("SPEAKER_01", "我很好")]


def test_words_that_are_written_differently_than_the_text_are_kept_beside_it() -> None:
    spoken = Segment(
        id=0,
        start_s=0,
        end_s=4,
        text="It cost 20 dollars",
        words=tuple(Word(text=text, start_s=n, end_s=n + 1.0) for n, text in enumerate(["it", "cost", "twenty", "$"])),
    )
    made = assign_speakers(transcript(spoken), diarization((0.0, 2.0, 0), (2.0, 4.0, 1)))
    assert attributed(made) == [("SPEAKER_00", "It cost"), ("SPEAKER_01", "20 dollars")]
    assert [word.text for piece in made.segments for word in piece.words] == ["it", "cost", "twenty", "$"]


times = st.floats(min_value=0, max_value=60, allow_nan=False)
texts = st.lists(st.sampled_from(["yes.", "no", "the", "train", "why?", "left", "früh"]), min_size=0, max_size=12)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    segments, clock = [], 0.0
    for number in range(draw(st.integers(0, 4))):
        clock += draw(st.floats(0, 3))
        length = draw(st.floats(0, 8))
        text = " ".join(draw(texts))
        segments.append(segment(text, clock, clock + length, timed=draw(st.booleans()), number=number))
        clock += length
    return transcript(*segments)


@st.composite
def diarizations(draw: st.DrawFn) -> Diarization:
    bounds = sorted(draw(st.lists(times, max_size=16)))
    turns = tuple(
        SpeakerTurn(start_s=start, end_s=end, speaker=f"SPEAKER_{draw(st.integers(0, 2)):02d}")
        for start, end in zip(bounds[::2], bounds[1::2], strict=False)
    )
    return Diarization(turns=turns, exclusive_turns=turns)


@given(transcripts(), diarizations(), st.integers(0, 3))
def test_no_word_is_lost_changed_or_moved(spoken: Transcript, heard: Diarization, flicker_words: int) -> None:
    made = assign_speakers(spoken, heard, AttributionOptions(flicker_words=flicker_words))
    assert made.text.split() == spoken.text.split()
    before = [word for piece in spoken.segments for word in piece.words]
    after = [word for piece in made.segments for word in piece.words]
    assert [(w.text, w.start_s, w.end_s) for w in after] == [(w.text, w.start_s, w.end_s) for w in before]
    assert [piece.id for piece in made.segments] == list(range(len(made.segments)))
    starts = [piece.start_s for piece in made.segments]
    assert starts == sorted(starts)
    assert all(piece.start_s <= piece.end_s for piece in made.segments)
    assert all(word.speaker == piece.speaker for piece in made.segments for word in piece.words)
    assert set(made.speakers) <= set(heard.speakers)


@given(transcripts(), diarizations())
def test_assigning_twice_changes_nothing(spoken: Transcript, heard: Diarization) -> None:
    once = assign_speakers(spoken, heard, AttributionOptions(flicker_words=0, estimated_flicker_words=0))
    timed = all(piece.words or not piece.text for piece in once.segments)
    if timed:
        assert assign_speakers(once, heard, AttributionOptions(flicker_words=0)) == once
