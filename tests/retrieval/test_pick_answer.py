from pipelines.retrieval.sources import candidate_sentences, pick_answer
from tests.retrieval.hits import passage, sources

EXAM = passage(("When is the exam? The exam is on the third of May. Bring a pencil.", "SPEAKER_00", 0, 10))
TRAIN = passage(("The train leaves at nine. Bring a pencil.", "SPEAKER_01", 30, 34), job="job-2")
ASKED = "When is the exam?"


def test_sentences_come_from_the_best_sources_first() -> None:
    found = candidate_sentences(sources(EXAM, TRAIN), limit=4)
    assert [candidate.text for candidate in found] == [
        "When is the exam?",
        "The exam is on the third of May.",
        "Bring a pencil.",
        "The train leaves at nine.",
    ]


def test_the_nearest_statement_answers_not_the_same_question() -> None:
    candidates = candidate_sentences(sources(EXAM, TRAIN), limit=10)
    text, citations = pick_answer(ASKED, candidates, [0.99, 0.8, 0.1, 0.0, 0.1], sentences=3, within=0.1)
    assert text == "The exam is on the third of May. [1]"
    assert [citation.quote for citation in citations] == ["The exam is on the third of May."]
    assert citations[0].speaker == "SPEAKER_00"


def test_the_same_question_is_no_answer_however_near_it_is() -> None:
    candidates = candidate_sentences(sources(EXAM), limit=10)
    text, _ = pick_answer(ASKED, candidates, [1.0, 0.6, 0.1], sentences=3, within=0.2)
    assert text == "The exam is on the third of May. [1]"
    asked = passage(("“When is the exam?”", "SPEAKER_00", 0, 2))
    text, _ = pick_answer(ASKED, candidate_sentences(sources(asked), limit=10), [1.0], sentences=3, within=0.2)
    assert text == "“When is the exam?” [1]"  # where nothing else was said


def test_sentences_nearly_as_good_follow_but_nothing_is_said_twice() -> None:
    candidates = candidate_sentences(sources(EXAM, TRAIN), limit=10)
    text, citations = pick_answer("What to bring?", candidates, [0, 0.5, 0.6, 0.4, 0.6], sentences=3, within=0.5)
    assert text == "Bring a pencil. [1] The exam is on the third of May. [2] The train leaves at nine. [3]"
    assert [citation.job_id for citation in citations] == ["job-1", "job-1", "job-2"]


def test_no_sentences_no_answer() -> None:
    assert pick_answer(ASKED, (), (), sentences=3, within=0.1) == ("", ())
