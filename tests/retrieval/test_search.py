from collections.abc import Sequence

import pytest

from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import SearchFilters, SearchMode, SearchRequest
from pipelines.errors import (
    EmbedderMismatch,
    InvalidRequest,
    ModelUnavailable,
    NotFound,
    Overloaded,
    PassageStoreUnavailable,
    RayScribeError,
)
from pipelines.fakes.models import FakeEmbedder
from pipelines.fakes.passages import FakeReranker, InMemoryPassageStore
from pipelines.retrieval.indexing import index_transcript
from pipelines.retrieval.passages import ChunkingOptions
from pipelines.retrieval.search import search_passages
from tests.speakers.transcripts import segment, transcript

ONE_SENTENCE = ChunkingOptions(target_words=1, max_words=12)
BIOLOGY = ["Cells divide in two.", "The exam is on the third of May.", "Bring a pencil to the exam hall."]
TRAVEL = ["The night train leaves at nine.", "Tickets are cheaper on Monday."]


class BrokenReranker(FakeReranker):
    def __init__(self, error: RayScribeError) -> None:
        self._error = error

    async def rerank(self, query: str, texts: Sequence[str]) -> tuple[float, ...]:
        raise self._error


class PreferLast(FakeReranker):
    """Turns any ranking round."""

    async def rerank(self, query: str, texts: Sequence[str]) -> tuple[float, ...]:
        return tuple(place / len(texts) for place in range(len(texts)))


@pytest.fixture
async def store() -> InMemoryPassageStore:
    store = InMemoryPassageStore()
    for tenant, collection, sentences in (
        ("a", "biology", BIOLOGY),
        ("a", "travel", TRAVEL),
        ("b", "biology", ["The exam of tenant b is secret."]),
    ):
        spoken = transcript(*(segment(text, n * 5, n * 5 + 4) for n, text in enumerate(sentences)))
        await index_transcript(
            FakeEmbedder(), store, tenant, collection, f"job-{collection}", "r.wav", spoken, {}, ONE_SENTENCE
        )
    return store


def request(query: str, *collections: str, **fields: object) -> SearchRequest:
    return SearchRequest(query=query, collections=collections or ("biology",), **fields)  # type: ignore[arg-type]


async def texts(store: InMemoryPassageStore, asked: SearchRequest) -> list[str]:
    return [hit.passage.text for hit in (await search_passages(FakeEmbedder(), store, "a", asked)).hits]


async def test_the_answering_passage_comes_first(store: InMemoryPassageStore) -> None:
    assert (await texts(store, request("when is the exam?")))[0] == BIOLOGY[1]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
async def test_collections_are_ranked_together(store: InMemoryPassageStore, mode: SearchMode) -> None:
    asked = request("when does the night train leave", "biology", "travel", "travel", mode=mode, top_k=3)
    result = await search_passages(FakeEmbedder(), store, "a", asked)
    assert result.hits[0].passage.text == TRAVEL[0]
    assert result.hits[0].collection == "travel"
    assert "biology" in {hit.collection for hit in result.hits}
    assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)
    assert len(result.hits) == 3


async def test_the_best_of_an_irrelevant_collection_does_not_come_first(store: InMemoryPassageStore) -> None:
    for order in (("biology", "travel"), ("travel", "biology")):
        assert (await texts(store, request("are tickets cheaper on Monday", *order)))[0] == TRAVEL[1]


async def test_another_tenants_passages_are_never_found(store: InMemoryPassageStore) -> None:
    assert all("secret" not in text for text in await texts(store, request("secret exam of tenant b", top_k=100)))


async def test_neighbours_and_highlights_come_on_demand(store: InMemoryPassageStore) -> None:
    plain = await search_passages(FakeEmbedder(), store, "a", request("third of May"))
    assert (plain.hits[0].before, plain.hits[0].after, plain.hits[0].highlights) == (None, None, ())
    asked = request("third of May", neighbours=True, highlight=True)
    hits = (await search_passages(FakeEmbedder(), store, "a", asked)).hits
    best = hits[0]
    assert best.before is not None
    assert best.after is not None
    assert (best.before.text, best.after.text) == (BIOLOGY[0], BIOLOGY[2])
    assert [best.passage.text[span.start : span.end] for span in best.highlights] == ["third", "May"]
    first = next(hit for hit in hits if hit.passage.position == 0)
    last = next(hit for hit in hits if hit.passage.position == 2)
    assert (first.before, last.after) == (None, None)


async def test_a_reranker_has_the_last_word_and_its_score_is_shown(store: InMemoryPassageStore) -> None:
    asked = request("exam", rerank=True, top_k=2)
    plain = await search_passages(FakeEmbedder(), store, "a", request("exam", top_k=100))
    turned = await search_passages(FakeEmbedder(), store, "a", asked, reranker=PreferLast())
    assert [hit.passage for hit in turned.hits] == [hit.passage for hit in plain.hits[::-1]][:2]
    assert [hit.scores.rerank for hit in turned.hits] == [hit.score for hit in turned.hits]
    assert turned.hits[0].scores.dense is not None
    assert turned.degraded == ()


@pytest.mark.parametrize(
    ("reranker", "reason"),
    [
        (None, "this deployment has no reranker"),
        (BrokenReranker(ModelUnavailable("its replica died")), "its replica died"),
        (BrokenReranker(Overloaded("too many calls are waiting")), "too many calls are waiting"),
    ],
)
async def test_without_a_reranker_the_search_says_so(
    store: InMemoryPassageStore, reranker: FakeReranker | None, reason: str
) -> None:
    result = await search_passages(
        FakeEmbedder(), store, "a", request("when is the exam", rerank=True), reranker=reranker
    )
    assert result.hits[0].passage.text == BIOLOGY[1]
    [degraded] = result.degraded
    assert (degraded.stage, degraded.reason) == ("answer", reason)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (request(" \n"), "query"),
        (request("x" * 1_000_000), "query"),
        (request("exam", top_k=0), "top_k"),
        (request("exam", top_k=10_000), "top_k"),
        (SearchRequest(query="exam", collections=()), "collection"),
        (request("exam", *(f"c{n}" for n in range(21))), "collection"),
        (request("exam", filters=SearchFilters(start_s=5.0, end_s=5.0)), "filters"),
    ],
)
async def test_what_cannot_be_searched_is_refused(
    store: InMemoryPassageStore, asked: SearchRequest, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await search_passages(FakeEmbedder(), store, "a", asked)
    assert refused.value.param == field


async def test_an_unknown_collection_is_not_found(store: InMemoryPassageStore) -> None:
    with pytest.raises(NotFound):
        await search_passages(FakeEmbedder(), store, "a", request("exam", "biology", "nowhere"))


async def test_a_store_that_is_down_is_unavailable(store: InMemoryPassageStore) -> None:
    store.down = True
    with pytest.raises(PassageStoreUnavailable):
        await search_passages(FakeEmbedder(), store, "a", request("exam"))


async def test_a_model_that_did_not_make_the_vectors_is_refused(store: InMemoryPassageStore) -> None:
    class Other(FakeEmbedder):
        async def info(self) -> EmbedderInfo:
            return EmbedderInfo(backend="fake", name="other", vector_size=64)

    with pytest.raises(EmbedderMismatch):
        await search_passages(Other(), store, "a", request("exam"))
