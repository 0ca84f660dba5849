from collections.abc import Sequence
from dataclasses import replace

import pytest

from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Embedding
from pipelines.errors import ModelUnavailable
from pipelines.fakes.models import FakeEmbedder
from pipelines.retrieval.query_cache import MAX_AGE_S, CachedQueries


class CountingEmbedder(FakeEmbedder):
    """Counts what it is asked, and can become another model."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "one"
        self.queries: list[str] = []
        self.down = False

    async def embed_query(self, text: str) -> Embedding:
        if self.down:
            raise ModelUnavailable("gone")
        self.queries.append(text)
        return await super().embed_query(text)

    async def info(self) -> EmbedderInfo:
        return replace(await super().info(), name=self.name)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def embedder() -> CountingEmbedder:
    return CountingEmbedder()


async def ask(cached: CachedQueries, *questions: str) -> Sequence[Embedding]:
    return [await cached.embed_query(question) for question in questions]


async def test_a_question_is_embedded_once(embedder: CountingEmbedder) -> None:
    cached = CachedQueries(embedder)
    first, other, again = await ask(cached, "when", "where", "when")
    assert first == again != other
    assert embedder.queries == ["when", "where"]
    assert (cached.hits, cached.misses) == (1, 2)


async def test_the_longest_unasked_is_forgotten_first(embedder: CountingEmbedder) -> None:
    await ask(CachedQueries(embedder, size=2), "a", "b", "a", "c", "a", "b")
    assert embedder.queries == ["a", "b", "c", "b"]


async def test_another_model_makes_all_questions_new(embedder: CountingEmbedder) -> None:
    clock = Clock()
    cached = CachedQueries(embedder, clock=clock)
    await ask(cached, "when")
    embedder.name = "two"
    clock.now = MAX_AGE_S + 1
    await ask(cached, "when")
    assert embedder.queries == ["when", "when"]
    assert (await cached.info()).name == "two"


async def test_a_failure_is_not_remembered(embedder: CountingEmbedder) -> None:
    cached = CachedQueries(embedder)
    embedder.down = True
    with pytest.raises(ModelUnavailable):
        await cached.embed_query("when")
    embedder.down = False
    await ask(cached, "when")
    assert embedder.queries == ["when"]


async def test_passages_pass_through(embedder: CountingEmbedder) -> None:
    assert await CachedQueries(embedder).embed_passages(["a"]) == await embedder.embed_passages(["a"])


async def test_whoever_wants_to_hears_what_was_known(embedder: CountingEmbedder) -> None:
    heard: list[bool] = []
    await ask(CachedQueries(embedder, on_lookup=heard.append), "when", "where", "when")
    assert heard == [False, False, True]


async def test_a_cache_of_no_size_remembers_nothing(embedder: CountingEmbedder) -> None:
    await ask(CachedQueries(embedder, size=0), "when", "when")
    assert embedder.queries == ["when", "when"]
