"""Scores against figures that were worked out by hand, and against meeteval where it is installed."""

import importlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.domain.transcript import Segment, Word
from pipelines.evaluation.scores import (
    ErrorCounts,
    align_words,
    calibration_error,
    character_errors,
    diarization_scores,
    normalize,
    paired_bootstrap,
    speaker_word_errors,
    word_errors,
    word_time_errors,
)

TEXT = st.lists(st.sampled_from("abc"), max_size=6).map(" ".join)
SPEECH = st.dictionaries(st.sampled_from(["x", "y", "z"]), TEXT, max_size=3)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("a b c d", "a b c d", (4, 0, 0, 0)),
        ("a b c d", "a x c", (4, 1, 1, 0)),
        ("a b", "a z b", (2, 0, 0, 1)),
        ("a b", "", (2, 0, 2, 0)),
        ("", "a b", (0, 0, 0, 2)),
        ("", "", (0, 0, 0, 0)),
    ],
)
def test_word_errors(reference: str, hypothesis: str, counts: tuple[int, int, int, int]) -> None:
    found = word_errors(reference, hypothesis)
    assert (found.reference, found.substitutions, found.deletions, found.insertions) == counts


def test_character_errors_count_letters() -> None:
    assert character_errors("abcd", "abxd").rate == 0.25
    assert ErrorCounts().rate is None


@pytest.mark.parametrize(
    ("text", "language", "written"),
    [
        ("Mr. Smith's colour", "en", "mister smith is color"),
        ("¡Hola, Ñandú!", "es", "hola ñandú"),
        ("Да, конечно.", "ru", "да конечно"),
    ],
)
def test_texts_are_written_alike(text: str, language: str, written: str) -> None:
    assert normalize(text, language) == written


@settings(deadline=None)
@given(reference=TEXT, hypothesis=TEXT)
def test_an_alignment_holds_all_words_of_both(reference: str, hypothesis: str) -> None:
    chunks = align_words(reference.split(), hypothesis.split())
    assert [word for chunk in chunks for word in chunk.reference] == reference.split()
    assert [word for chunk in chunks for word in chunk.hypothesis] == hypothesis.split()


class TestSpeakerWordErrors:
    def test_names_do_not_matter(self) -> None:
        assert speaker_word_errors({"A": "a b", "B": "c d"}, {"1": "c d", "0": "a b"}).errors == 0

    def test_a_speaker_too_many_is_inserted_and_one_too_few_deleted(self) -> None:
        assert speaker_word_errors({"A": "a b"}, {"0": "a b", "1": "c"}).insertions == 1
        assert speaker_word_errors({"A": "a b", "B": "c"}, {"0": "a b"}).deletions == 1
        assert speaker_word_errors({}, {}) == ErrorCounts()

    @settings(deadline=None)
    @given(reference=SPEECH, hypothesis=SPEECH)
    def test_no_other_matching_has_fewer_errors(self, reference: dict[str, str], hypothesis: dict[str, str]) -> None:
        size = max(len(reference), len(hypothesis))
        theirs = [*reference.values(), *[""] * (size - len(reference))]
        ours = [*hypothesis.values(), *[""] * (size - len(hypothesis))]
        fewest = min(
            sum(word_errors(*pair).errors for pair in zip(theirs, order, strict=True))
            for order in itertools.permutations(ours)
        )
        assert speaker_word_errors(reference, hypothesis).errors == fewest

    @settings(deadline=None, max_examples=50)
    @given(reference=SPEECH.filter(lambda said: any(said.values())), hypothesis=SPEECH)
    def test_as_meeteval_counts(self, reference: dict[str, str], hypothesis: dict[str, str]) -> None:
        try:
            meeteval_wer = importlib.import_module("meeteval.wer")
        except ImportError:
            pytest.skip("meeteval is not installed: it comes as source, and is no dependency")
        theirs = meeteval_wer.cp_word_error_rate(reference, hypothesis)
        ours = speaker_word_errors(reference, hypothesis)
        assert (ours.errors, ours.reference) == (theirs.errors, theirs.length)


def turns(*spoken: tuple[str, float, float]) -> list[Segment]:
    return [Segment(id=0, start_s=start_s, end_s=end_s, text="", speaker=who) for who, start_s, end_s in spoken]


def test_diarization_errors_of_a_boundary_that_is_late() -> None:
    scores = diarization_scores(turns(("A", 0, 10), ("B", 10, 20)), turns(("x", 0, 12), ("y", 12, 20)))
    assert scores.der[0.0] == pytest.approx(2 / 20)
    assert scores.der[0.25] == pytest.approx(1.75 / 19, abs=1e-3)  # 0.25 s around 0, 10 and 20 count no longer
    assert scores.jer == pytest.approx((2 / 12 + 2 / 10) / 2)
    assert (scores.reference_speakers, scores.hypothesis_speakers) == (2, 2)


def said(*words: tuple[str, float, float | None]) -> list[Word]:
    return [Word(text=text, start_s=at_s, end_s=at_s + 0.1, confidence=sure) for text, at_s, sure in words]


def test_word_times_are_compared_where_words_are_right() -> None:
    reference = said(("One", 0.0, None), ("two", 1.0, None), ("three", 2.0, None))
    hypothesis = said(("uno", 0.5, None), ("two,", 1.1, None), ("three.", 2.3, None))
    assert word_time_errors(reference, hypothesis, "es") == pytest.approx([0.1, 0.3])


def test_calibration() -> None:
    words = said(("a", 0, 0.95), ("b", 1, 0.95), ("x", 2, 0.15))
    assert calibration_error("a b c", words, "es") == pytest.approx((0.05 * 2 + 0.15) / 3)
    assert calibration_error("a", said(("a", 0, None)), "es") is None


def test_the_bootstrap_is_paired_and_repeatable() -> None:
    theirs = [ErrorCounts(reference=10, substitutions=place % 3) for place in range(50)]
    ours = [ErrorCounts(reference=10, substitutions=place % 3 + 1) for place in range(50)]
    assert paired_bootstrap(ours, theirs) == pytest.approx((0.1, 0.1))
    low, high = paired_bootstrap(theirs, [ErrorCounts(reference=10, substitutions=1)] * 50)
    assert low < 0 < high
