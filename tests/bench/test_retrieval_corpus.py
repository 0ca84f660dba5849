from bench.retrieval_corpus import make_talks
from bench.retrieval_measures import measures, mrr_at, ndcg_at, recall_at
from bench.retrieval_recordings import sample_recordings
from bench.retrieval_training import training_facts


def test_every_question_has_its_moment() -> None:
    talks, questions = make_talks(6)
    by_id = {talk.job_id: talk.transcript for talk in talks}
    answered = [question for question in questions if question.job_id]
    assert {question.slice for question in questions} == {"paraphrases", "names", "numbers", "context", "negatives"}
    for question in answered:
        segments = by_id[question.job_id or ""].segments
        assert any((segment.start_s, segment.end_s) == (question.start_s, question.end_s) for segment in segments)
    assert len({question.text for question in questions}) == len(questions)


def test_the_same_seed_makes_the_same_talks() -> None:
    assert make_talks(3) == make_talks(3)


def test_what_is_tuned_on_shares_nothing_with_what_is_measured() -> None:
    measured, tuned = make_talks(3)[1], make_talks(3, source=training_facts)[1]
    negatives = {question.text for question in measured if question.slice == "negatives"}
    assert {question.text for question in measured} & {question.text for question in tuned} == negatives
    assert {question.slice for question in measured} == {question.slice for question in tuned}


def test_the_sample_recordings_answer_their_questions() -> None:
    recordings, questions = sample_recordings()
    assert len(questions) >= 16
    assert {question.job_id for question in questions} == {recording.job_id for recording in recordings}
    assert all(question.start_s < question.end_s for question in questions)


def test_measures() -> None:
    assert recall_at([1, 5, 6, None], 5) == 0.5
    assert mrr_at([1, 2, 11, None], 10) == 0.375
    assert ndcg_at([1, None], 10) == 0.5
    assert set(measures([1])) == {"recall@5", "MRR@10", "nDCG@10"}
