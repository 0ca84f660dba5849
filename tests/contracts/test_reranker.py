"""What every Reranker must do, over the fake and over the real engine with random weights."""

import asyncio
from collections.abc import Iterator

import pytest

from pipelines.fakes.passages import FakeReranker
from pipelines.ports.models import Reranker
from pipelines.retrieval.engines.reranker import BgeReranker
from tests.retrieval.engines.tiny_checkpoints import write_reranker

TEXTS = ["the exam is on monday", "cells divide in two", "", "the night train " * 400]


@pytest.fixture(scope="module", params=["fake", pytest.param("bge", marks=pytest.mark.engines)])
def reranker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reranker]:
    if request.param == "fake":
        yield FakeReranker()
        return
    engine = asyncio.run(BgeReranker.load(write_reranker(tmp_path_factory.mktemp("reranker"))))
    yield engine
    asyncio.run(engine.close())


async def test_one_score_a_text_between_zero_and_one(reranker: Reranker) -> None:
    scores = await reranker.rerank("when is the exam", TEXTS)
    assert len(scores) == len(TEXTS)
    assert all(0.0 <= score <= 1.0 for score in scores)


async def test_a_score_depends_on_its_text_alone(reranker: Reranker) -> None:
    together = await reranker.rerank("when is the exam", TEXTS)
    turned = await reranker.rerank("when is the exam", TEXTS[::-1])
    assert turned[::-1] == pytest.approx(together, abs=1e-4)


async def test_no_texts_no_scores(reranker: Reranker) -> None:
    assert await reranker.rerank("when", []) == ()


async def test_callers_at_once_get_their_own(reranker: Reranker) -> None:
    queries = ["when is the exam", "cells", "train"]
    one_by_one = [await reranker.rerank(query, TEXTS) for query in queries]
    at_once = await asyncio.gather(*(reranker.rerank(query, TEXTS) for query in queries))
    for alone, scores in zip(one_by_one, at_once, strict=True):
        assert scores == pytest.approx(alone, abs=1e-4)


async def test_it_says_what_it_is(reranker: Reranker) -> None:
    info = await reranker.info()
    assert info.role == "reranker"
    assert info.checkpoint_hash is not None
    assert info.checkpoint_hash.startswith("sha256:")
