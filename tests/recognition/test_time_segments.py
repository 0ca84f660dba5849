from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.audio import TimeSpan, Window
from pipelines.domain.transcript import Word
from pipelines.recognition.stitch import TimedText, split_words, to_segments

WINDOW = Window(
    index=0,
    start_s=100.0,
    end_s=120.0,
    speech=(TimeSpan(start_s=100.0, end_s=105.0), TimeSpan(start_s=110.0, end_s=120.0)),
    samples=None,
)


def word(text: str, start_s: float, end_s: float) -> Word:
    return Word(text=text, start_s=start_s, end_s=end_s)


def times(*pieces: TimedText) -> list[tuple[float, float]]:
    return [(segment.start_s, segment.end_s) for segment in to_segments(pieces, WINDOW, confidence=0.5)]


def test_silence_at_both_ends_is_cut_off() -> None:
    assert times(TimedText(text="a", start_s=99.0, end_s=108.0)) == [(100.0, 105.0)]
    assert times(TimedText(text="a", start_s=107.0, end_s=125.0)) == [(110.0, 120.0)]


def test_a_segment_over_a_pause_keeps_the_pause() -> None:
    assert times(TimedText(text="a", start_s=104.0, end_s=111.0)) == [(104.0, 111.0)]


def test_segments_come_in_order_and_are_never_empty() -> None:
    found = times(
        TimedText(text="a", start_s=101.0, end_s=103.0),
        TimedText(text="b", start_s=102.0, end_s=102.0),
        TimedText(text="c", start_s=119.999, end_s=125.0),
    )
    assert found == [(101.0, 103.0), (103.0, 103.02), (119.98, 120.0)]


def test_what_lies_behind_the_window_is_moved_into_it_in_order() -> None:
    found = times(
        TimedText(text="a", start_s=118.0, end_s=124.0),
        TimedText(text="b", start_s=124.0, end_s=126.0),
        TimedText(text="c", start_s=126.0, end_s=128.0),
    )
    assert found == [(118.0, 119.96), (119.96, 119.98), (119.98, 120.0)]


@given(st.lists(st.tuples(st.floats(90, 130), st.floats(90, 130)), max_size=30))
def test_any_times_become_ordered_ones(pairs: list[tuple[float, float]]) -> None:
    found = times(*(TimedText(text="a", start_s=start_s, end_s=end_s) for start_s, end_s in pairs))
    assert len(found) == len(pairs)
    assert all(100.0 <= start_s < end_s <= 120.0 for start_s, end_s in found)
    assert all(before[1] <= after[0] for before, after in pairwise(found))


def test_text_is_tidied_and_empty_text_leaves_no_segment() -> None:
    pieces = [TimedText(text="  two \n words ", start_s=101, end_s=102), TimedText(text=" ", start_s=102, end_s=103)]
    (segment,) = to_segments(pieces, WINDOW, confidence=0.5)
    assert (segment.id, segment.text, segment.confidence) == (0, "two words", 0.5)


def test_words_give_a_segment_its_times_and_do_not_cross_a_pause() -> None:
    words = (word("one", 104.0, 107.0), word("two", 108.0, 111.0), word("three", 111.0, 111.0))
    (segment,) = to_segments(
        [TimedText(text="one two three", start_s=100, end_s=120, words=words)], WINDOW, confidence=1
    )
    assert [(word.start_s, word.end_s) for word in segment.words] == [(104.0, 105.0), (110.0, 111.0), (111.0, 111.02)]
    assert (segment.start_s, segment.end_s) == (104.0, 111.02)


def test_words_are_grouped_by_sentence_and_by_pause() -> None:
    words = [
        word("Good", 1.0, 1.2),
        word("morning.", 1.2, 1.6),
        word("We", 1.7, 1.8),
        word("start", 1.8, 2.0),
        word("now", 4.0, 4.2),
    ]
    written = [" Good", " morning.", " We", " start", " now"]
    groups = split_words(words, written)
    assert [(group.text, group.start_s, group.end_s) for group in groups] == [
        (" Good morning.", 1.0, 1.6),
        (" We start", 1.7, 2.0),
        (" now", 4.0, 4.2),
    ]
    assert split_words([], []) == []


def test_languages_without_spaces_keep_none() -> None:
    groups = split_words([word("你", 1.0, 1.1), word("好。", 1.1, 1.3), word("再", 1.4, 1.5)], ["你", "好。", "再"])
    assert [group.text for group in groups] == ["你好。", "再"]
