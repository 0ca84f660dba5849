import random
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from bench.retrieval_corpus import NAME_FORMS, NAMES, PARAPHRASES, Fact
from bench.retrieval_training import training_facts
from pipelines.fakes.models import FakeEmbedder
from pipelines.retrieval.engines.reranker import BgeReranker
from tests.retrieval.engines.tiny_checkpoints import write_reranker
from training.reranker.reranker_lessons import (
    PEOPLE,
    Lesson,
    answer_lessons,
    lesson_facts,
    likeness_lessons,
    read_facts,
)
from training.reranker.train_reranker import open_model, train

LIKE = 0.5
"""Share of common content words from which two sentences count as the same."""
_COMMON = """
a an the of in on to is was and it we my our his her for with at that does did do what why how when who which can not be
by from he she they has had have so name
"""
COMMON_WORDS = frozenset(_COMMON.split())


def test_what_is_taught_is_not_what_is_measured() -> None:
    measured = [_content(text) for pair in (*PARAPHRASES, *NAME_FORMS) for text in pair]
    for name in ("paraphrases", "names", "numbers", "context"):
        for text in (text for line in read_facts(name) for text in line):
            words = _content(text)
            assert all(len(words & other) < LIKE * len(words | other) for other in measured), text
    assert not {*PEOPLE} & {*NAMES}


def test_every_form_is_filled() -> None:
    facts = list(lesson_facts(random.Random(1)))
    assert {fact.slice for fact in facts} == {"paraphrases", "names", "numbers", "context"}
    assert not [fact for fact in facts if "{" in f"{fact.before} {fact.said} {fact.question}"]


async def test_answers_are_right_and_the_others_are_not() -> None:
    lessons = await answer_lessons(FakeEmbedder(), 1, seed=3, source=_few_facts)
    said = {fact.question: fact.said for fact in _few_facts(random.Random(3))}
    right = [lesson for lesson in lessons if lesson.score == 1.0]
    assert len({lesson.question for lesson in right}) > len(said) / 2  # the fake embedder finds most of them
    for lesson in right:
        words = said[lesson.question].split()
        assert len({*words} & {*lesson.text.split()}) >= len({*words}) / 2
    assert {lesson.score for lesson in lessons} == {0.0, 1.0}


async def test_likeness_is_a_score_of_every_question() -> None:
    lessons = await likeness_lessons(FakeEmbedder(), 5_000, seed=3)
    assert all(0.0 <= lesson.score <= 1.0 for lesson in lessons)
    assert {fact.question for fact in lesson_facts(random.Random(3))} <= {lesson.question for lesson in lessons}


@pytest.mark.engines
async def test_a_model_learns_and_is_loaded_by_the_product(tmp_path: Path) -> None:
    right = Lesson("when is the exam", "the exam is on monday", 1.0)
    wrong = Lesson("when is the exam", "the night train leaves at nine", 0.0)
    model = open_model(write_reranker(tmp_path / "untrained"))
    train(model, [right, wrong] * 64, tmp_path, rate=1e-2, epochs=12)
    model.save_pretrained(str(tmp_path / "trained"))
    reranker = await BgeReranker.load(tmp_path / "trained")
    try:
        good, bad = await reranker.rerank(right.question, [right.text, wrong.text])
    finally:
        await reranker.close()
    assert good > 0.8
    assert bad < 0.2


def _few_facts(draw: random.Random) -> Iterator[Fact]:
    return islice(training_facts(draw), 30, 90)


def _content(text: str) -> set[str]:
    return {*re.findall(r"[a-z]+", text.lower())} - COMMON_WORDS
