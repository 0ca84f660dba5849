import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.transcript import Segment, WindowTranscript, Word
from pipelines.live.agreement import Agreement, Piece, matching_prefix, pieces_of, written


def pieces(text: str, *, start_s: float = 0.0) -> list[Piece]:
    return [
        Piece(text=f" {word}", start_s=start_s + place, end_s=start_s + place + 0.8)
        for place, word in enumerate(text.split())
    ]


def window(*segments: Segment) -> WindowTranscript:
    return WindowTranscript(
        index=0, start_s=0.0, end_s=9.0, language="en", segments=segments, avg_logprob=-0.1, no_speech_prob=0.0,
        compression_ratio=1.0, temperature=0.0,
    )  # fmt: skip


def test_what_two_hypotheses_begin_with_is_committed_but_for_the_last_word() -> None:
    agreement = Agreement()
    assert agreement.update(pieces("the cat sad")) == ()
    assert written(agreement.update(pieces("the cat sat on"))) == "the cat"
    assert written(agreement.tentative) == "sat on"
    assert written(agreement.update(pieces("the cat sat on the mat"))) == "sat on"
    assert written(agreement.finish(pieces("the cat sat on the mat."))) == "the mat."
    assert agreement.text == "the cat sat on the mat."


def test_marks_and_case_do_not_keep_words_apart_and_the_newer_form_stands() -> None:
    agreement = Agreement()
    agreement.update(pieces("Hello. How"))
    agreement.update(pieces("hello, how are"))
    assert agreement.text == "hello, how"


def test_committed_words_stand_where_a_later_hypothesis_has_others() -> None:
    agreement = Agreement()
    agreement.update(pieces("I saw the see today"))
    agreement.update(pieces("I saw the see today and"))
    agreement.finish(pieces("I saw the sea today and tomorrow"))
    assert agreement.text == "I saw the see today and tomorrow"


def test_a_word_that_the_cut_left_an_echo_of_is_not_said_twice() -> None:
    agreement = Agreement()
    agreement.finish(pieces("we went home"))
    agreement.cut(3)
    echo = [Piece(text=" home", start_s=2.78, end_s=2.9), *pieces("and slept", start_s=3.0)]
    agreement.finish(echo)
    assert agreement.text == "we went home and slept"


def test_a_word_that_is_said_twice_across_a_cut_stays_twice() -> None:
    agreement = Agreement()
    agreement.finish(pieces("no no"))
    agreement.cut(2)
    agreement.finish(pieces("no never", start_s=2.0))
    assert agreement.text == "no no no never"


@pytest.mark.parametrize(
    ("known", "heard", "place"),
    [
        ("a b c", "a b c d", 3),
        ("a b c", "a x c d", 3),
        ("a b c", "a b", 2),
        ("a b c", "a b b c d", 4),
        ("", "a b", 0),
        ("a b", "", 0),
        ("a b", "a b a b c", 2),
    ],
)
def test_the_prefix_that_says_the_same(known: str, heard: str, place: int) -> None:
    assert matching_prefix(known.split(), heard.split()) == place


def test_a_cut_prefers_the_end_of_a_sentence_then_the_longest_pause() -> None:
    agreement = Agreement()
    agreement.finish(pieces("one two. three four five"))
    assert agreement.best_cut(after_s=0.0, before_s=9.0) == 2
    assert agreement.cut_s(2) == pytest.approx(1.9)
    assert agreement.best_cut(after_s=2.0, before_s=9.0) == 4
    assert agreement.best_cut(after_s=20.0, before_s=30.0) == 0


words = st.sampled_from(["a", "b", "c", "d.", "E"])


@given(st.lists(st.lists(words, max_size=12), max_size=12), st.lists(st.integers(0, 20), max_size=12))
def test_committed_text_never_changes(hypotheses: list[list[str]], cuts: list[int]) -> None:
    agreement, before = Agreement(), ""
    for number, hypothesis in enumerate(hypotheses):
        added = agreement.update(pieces(" ".join(hypothesis)))
        if number < len(cuts):
            agreement.cut(min(cuts[number], len(agreement.committed)))
        assert agreement.text == (before + "".join(piece.text for piece in added)).strip()
        before = agreement.text
    agreement.finish(pieces("the end"))
    assert agreement.text.startswith(before)


def test_pieces_take_the_times_of_words_even_where_words_are_divided_otherwise() -> None:
    words = (
        Word(text="well", start_s=1.0, end_s=1.4, confidence=0.9),
        Word(text="known,", start_s=1.4, end_s=2.0, confidence=0.5),
        Word(text="yes.", start_s=3.0, end_s=3.5, confidence=0.8),
    )
    segment = Segment(id=0, start_s=1.0, end_s=3.5, text="wellknown, yes.", words=words)
    found = pieces_of(window(segment))
    assert [(piece.text, piece.start_s, piece.end_s) for piece in found] == [
        (" wellknown,", 1.0, 2.0),
        (" yes.", 3.0, 3.5),
    ]


def test_writing_without_spaces_stays_without() -> None:
    segment = Segment(id=0, start_s=0.0, end_s=4.0, text="今天天气很好。")
    found = pieces_of(window(segment))
    assert len(found) > 2
    assert written(found) == "今天天气很好。"
