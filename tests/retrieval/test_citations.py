from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.answer import Source
from pipelines.retrieval.citations import CitationMarker
from tests.retrieval.hits import hit, passage, sources

EXAM = passage(("The exam is on the third of May. Bring a pencil.", "SPEAKER_00", 0, 10))
TRAIN = passage(("The train leaves at nine.", "SPEAKER_01", 30, 32), job="job-2", recording="trip.wav")


def read(text: str, pieces: int | None = None) -> tuple[str, CitationMarker]:
    marker = CitationMarker(sources(EXAM, TRAIN))
    size = pieces or len(text) or 1
    shown = "".join(marker.feed(text[place : place + size]) for place in range(0, len(text), size))
    return shown + marker.finish(), marker


@pytest.mark.parametrize(
    ("written", "shown", "quotes", "removed"),
    [
        (
            'It is in May [1: "the exam is on the third of May"].',
            "It is in May [1].",
            ["The exam is on the third of May."],
            0,
        ),
        ("At nine [2 “leaves at nine”]", "At nine [1]", ["leaves at nine."], 0),
        ("At nine [2: leaves at nine]!", "At nine [1]!", ["leaves at nine."], 0),
        ("The train leaves early [2].", "The train leaves early [1].", ["The train leaves at nine."], 0),
        (
            "Pencils and trains leave [1, 2].",
            "Pencils and trains leave [1][2].",
            ["Bring a pencil.", "The train leaves at nine."],
            0,
        ),
        # one that names nothing retrieved, one whose words were never said, one that nothing supports
        ("Yes [7].", "Yes.", [], 1),
        ('On Monday [1: "the exam is on Monday"].', "On Monday.", [], 1),
        ("Whales sing [2].", "Whales sing.", [], 1),
        ("Trains [2, 9].", "Trains [1].", ["The train leaves at nine."], 1),
        # the same words twice are one citation
        (
            'A [2: "at nine"]. B [1: "a pencil"]. C [2: "at nine"].',
            "A [1]. B [2]. C [1].",
            ["at nine.", "a pencil."],
            0,
        ),
        # what is not a citation stays as it is
        ("an array [x] and [0 and a [link](to)", "an array [x] and [0 and a [link](to)", [], 0),
        ("[12345] [1-on-1 talk] [1 of them] [", "[12345] [1-on-1 talk] [1 of them] [", [], 0),
        # one that the end of the answer cuts off proves nothing
        ('ends open [1: "the exam', "ends open", [], 1),
        ("ends open [1", "ends open", [], 1),
        # as other models write it
        ("Im Mai [1: „the exam is on the third of May“]", "Im Mai [1]", ["The exam is on the third of May."], 0),
        ("Pencils and trains leave [1; 2]", "Pencils and trains leave [1][2]", ["Bring a pencil.", TRAIN.text], 0),
        ("Pencils and trains leave [1-2]", "Pencils and trains leave [1][2]", ["Bring a pencil.", TRAIN.text], 0),
        ("The train leaves at 9 a.m. 【2†trip.wav】", "The train leaves at 9 a.m. [1]", [TRAIN.text], 0),
        ("The train leaves [Source 2].", "The train leaves [1].", [TRAIN.text], 0),
        ("The train leaves [sources 2 and 7].", "The train leaves [1].", [TRAIN.text], 1),
        ('A [1: the "exam" is on].', "A [1].", ["The exam is on"], 0),
        ('A [1: "a pencil"; 2: "at nine"].', "A [1][2].", ["a pencil.", "at nine."], 0),
        ('A [1: "a pencil", "the exam is"].', "A [1][2].", ["a pencil.", "The exam is"], 0),
        ('A [1: "a pencil", 2: "at ten"].', "A [1].", ["a pencil."], 1),
        ('A [1: "bring a ] pencil"] B [2: "at nine"].', "A [1] B [2].", ["Bring a pencil.", "at nine."], 0),
        ('A [1: "a pencil] B [2: "at nine"].', "A [1] B [2].", ["a pencil.", "at nine."], 0),
        ("plain text. ", "plain text. ", [], 0),
        ("", "", [], 0),
    ],
)
@pytest.mark.parametrize("pieces", [None, 1, 3])
def test_citations_are_checked_and_numbered_anew(
    written: str, shown: str, quotes: list[str], removed: int, pieces: int | None
) -> None:
    text, marker = read(written, pieces)
    assert text == shown
    assert [citation.quote for citation in marker.citations] == quotes
    assert [citation.n for citation in marker.citations] == list(range(1, len(quotes) + 1))
    assert marker.removed == removed


def test_text_is_shown_as_soon_as_it_cannot_become_a_citation() -> None:
    marker = CitationMarker(sources(EXAM))
    assert marker.feed("The exam") == "The exam"
    assert marker.feed(" is [") == " is"
    assert marker.feed('1: "third of May"') == ""
    assert marker.feed("]. Then") == " [1]. Then"


def test_a_bracket_that_never_closes_does_not_hold_the_stream() -> None:
    marker = CitationMarker(sources(EXAM))
    assert len(marker.feed("[1: " + "word " * 200)) > 500


@pytest.mark.parametrize("token", ["\n", " " * 8, "word ", "[", "[1: ", "a. ", "[So", "【"])
def test_no_more_is_held_back_than_a_citation_can_be_long(token: str) -> None:
    marker, shown = CitationMarker(sources(EXAM, TRAIN)), 0
    for count in range(1, 1_001):
        shown += len(marker.feed(token))
        assert count * len(token) - shown <= 610


def test_the_best_of_neighbouring_passages_supports_a_statement() -> None:
    question = passage(("Is the app ready?", "SPEAKER_00", 0, 2))
    answer = passage(("The deadline for the mobile app is Friday.", "SPEAKER_01", 2, 5))
    marker = CitationMarker([Source(n=1, hit=replace(hit(question), after=answer))])
    claim = "The deadline for the mobile app is Friday"
    assert marker.feed(f"{claim} [1].") == f"{claim} [1]."
    assert [citation.quote for citation in marker.citations] == [answer.text]


@given(st.text(alphabet='ab12[]【】†:;-"„“, .', max_size=60), st.integers(1, 7))
def test_how_the_text_is_cut_into_pieces_does_not_matter(written: str, pieces: int) -> None:
    whole, piecewise = read(written), read(written, pieces)
    assert whole[0] == piecewise[0]
    assert whole[1].citations == piecewise[1].citations
    assert whole[1].removed == piecewise[1].removed
