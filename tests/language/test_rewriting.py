"""Edit rates, putting rewritten words back on their segments, and tidying by rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.transcript import Segment
from pipelines.language.rewriting import align_rewrite, measure_edit_rate, overall_edit_rate
from pipelines.language.text import tidy_text
from tests.language.spoken_calls import SEGMENTS, said

TURN = said(("A", "um so good morning"), ("A", "uh"), ("A", "my name is alice"), ("A", "how may i help you")).segments


def test_the_edit_rate_is_levenshtein_over_the_longer() -> None:
    assert measure_edit_rate("kitten", "sitting") == pytest.approx(3 / 7)
    assert measure_edit_rate("", "") == 0.0
    assert measure_edit_rate("", "abc") == 1.0
    assert measure_edit_rate("a  b\n", "a b") == 0.0


@given(a=st.text(max_size=40), b=st.text(max_size=40))
def test_the_edit_rate_is_symmetric_and_bounded(a: str, b: str) -> None:
    assert 0.0 <= measure_edit_rate(a, b) <= 1.0
    assert measure_edit_rate(a, b) == measure_edit_rate(b, a)


def test_over_many_chunks_the_long_ones_weigh_more() -> None:
    assert overall_edit_rate([("abcd", "abcd"), ("xy", "zz")]) == pytest.approx(2 / 6)
    assert overall_edit_rate([]) is None


def test_rewritten_words_stay_with_their_segments() -> None:
    aligned = align_rewrite(TURN, "So, good morning. My name is Alice. How may I help you?")
    assert [(segment.start_s, segment.text) for segment in aligned] == [
        (0.0, "So, good morning."),
        (20.0, "My name is Alice."),
        (30.0, "How may I help you?"),
    ]


@given(segments=SEGMENTS.filter(bool), rewritten=st.text(max_size=80))
def test_no_rewritten_word_is_lost(segments: tuple[Segment, ...], rewritten: str) -> None:
    aligned = align_rewrite(segments, rewritten)
    assert " ".join(segment.text for segment in aligned).split() == rewritten.split()
    assert [segment.start_s for segment in aligned] == sorted(segment.start_s for segment in aligned)


@given(segments=SEGMENTS.filter(bool))
def test_unchanged_words_stay_where_they_were(segments: tuple[Segment, ...]) -> None:
    aligned = align_rewrite(segments, " ".join(segment.text for segment in segments))
    assert [(s.start_s, s.text) for s in aligned] == [
        (s.start_s, " ".join(s.text.split())) for s in segments if s.text.split()
    ]


@pytest.mark.parametrize(
    ("raw", "tidied"),
    [
        ("um so i i think uh that is it", "So I think that is it."),
        ("hello. how are you", "Hello. How are you."),
        ("it had had a very very long day", "It had had a very very long day."),
        ("call 5 5 5 now!", "Call 5 5 5 now!"),
        ("um uh", ""),
        ("", ""),
    ],
)
def test_text_is_tidied_by_rules(raw: str, tidied: str) -> None:
    assert tidy_text(raw) == tidied


def test_other_languages_keep_their_i() -> None:
    assert tidy_text("ona i on idu", language="hr") == "Ona i on idu."
