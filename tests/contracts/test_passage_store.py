"""What every PassageStore must do, over the fake and over Qdrant in this process."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.domain.passage import Hit, Passage, SearchFilters, SearchMode, SpokenSpan
from pipelines.errors import EmbedderMismatch, NotFound
from pipelines.fakes.models import FakeEmbedder
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.ports.passages import PassageStore
from pipelines.retrieval.passages import passage_id
from pipelines.stores.qdrant.passages import QdrantPassageStore

HOSTILE = (
    "biology-101",
    "Biology-101",
    "a/b\\c",
    "../../other",
    "tenant-b-notes",
    "x" * 1_000,
    "名前 🙂",
    "nul\0byte",
    "rayscribe-" + "0" * 32,
    "",
    "*",
)
MODES: tuple[SearchMode, ...] = ("hybrid", "dense", "sparse")


@pytest.fixture(params=["fake", "qdrant folder"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PassageStore]:
    if request.param == "fake":
        yield InMemoryPassageStore()
        return
    qdrant = await QdrantPassageStore.open(tmp_path / "qdrant")
    yield qdrant
    await qdrant.close()


def passage(text: str, *, job: str = "job-1", position: int = 0, tenant: str = "a", **fields: object) -> Passage:
    made = Passage(
        passage_id=passage_id(tenant, "notes", job, position),
        job_id=job,
        recording="lecture.m4a",
        position=position,
        start_s=position * 10.0,
        end_s=position * 10.0 + 8.0,
        speakers=("SPEAKER_00",),
        language="en",
        text=text,
        spans=(SpokenSpan(start=0, end=len(text), start_s=position * 10.0, end_s=position * 10.0 + 8.0, speaker=None),),
    )
    return replace(made, **fields)  # type: ignore[arg-type]


PASSAGES = (
    passage("the exam is on the third of May", position=0),
    passage("cells divide in two", position=1, speakers=("SPEAKER_01",)),
    passage("the night train leaves at nine", position=2, speakers=("SPEAKER_00", "SPEAKER_01")),
    passage("der Zug fährt um neun", job="job-2", language="de", metadata={"term": "autumn", "a.b[0]": "x"}),
)


async def fill(store: PassageStore, *passages: Passage, tenant: str = "a", collection: str = "notes") -> None:
    embedder = FakeEmbedder()
    await store.ensure_collection(tenant, collection, await embedder.info())
    vectors = await embedder.embed_passages([each.text for each in passages])
    await store.upsert(tenant, collection, passages, vectors, embedder=await embedder.info())


async def search(
    store: PassageStore,
    query: str,
    *,
    tenant: str = "a",
    collection: str = "notes",
    mode: SearchMode = "hybrid",
    top_k: int = 10,
    filters: SearchFilters | None = None,
) -> tuple[Hit, ...]:
    embedder = FakeEmbedder()
    return await store.search(
        tenant,
        collection,
        await embedder.embed_query(query),
        mode=mode,
        top_k=top_k,
        filters=filters or SearchFilters(),
        embedder=await embedder.info(),
    )


@pytest.mark.parametrize("mode", MODES)
async def test_the_passage_with_the_queries_words_comes_first_and_whole(store: PassageStore, mode: SearchMode) -> None:
    await fill(store, *PASSAGES)
    hits = await search(store, "when is the exam", mode=mode)
    assert hits[0].passage == PASSAGES[0]
    assert hits[0].collection == "notes"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_each_stage_says_its_score(store: PassageStore) -> None:
    await fill(store, *PASSAGES)
    hybrid = {hit.passage.text: hit.scores for hit in await search(store, "when is the exam")}
    dense = {hit.passage.text: hit.scores for hit in await search(store, "when is the exam", mode="dense")}
    sparse = {hit.passage.text: hit.scores for hit in await search(store, "when is the exam", mode="sparse")}
    exam = hybrid["the exam is on the third of May"]
    assert exam.dense is not None
    assert 0 < exam.dense <= 1
    assert exam.sparse is not None
    assert exam.rerank is None
    assert hybrid["der Zug fährt um neun"].sparse is None
    assert all(scores.sparse is None for scores in dense.values())
    assert all(scores.dense is None for scores in sparse.values())
    assert "der Zug fährt um neun" not in sparse


async def test_hybrid_scores_one_for_a_passage_that_says_the_query(store: PassageStore) -> None:
    await fill(store, *PASSAGES)
    assert (await search(store, "cells divide in two"))[0].score == pytest.approx(1.0, abs=1e-3)


async def test_a_query_without_words_finds_nothing_by_words(store: PassageStore) -> None:
    await fill(store, *PASSAGES)
    assert await search(store, "?!", mode="sparse") == ()


async def test_top_k_bounds_the_list(store: PassageStore) -> None:
    await fill(store, *PASSAGES)
    assert len(await search(store, "the", mode="dense", top_k=2)) == 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("filters", "positions"),
    [
        (SearchFilters(job_ids=("job-1",)), {0, 1, 2}),
        (SearchFilters(job_ids=("job-1", "job-2"), languages=("en",)), {0, 1, 2}),
        (SearchFilters(speakers=("SPEAKER_01",)), {1, 2}),
        (SearchFilters(speakers=("SPEAKER_01",), end_s=20.0), {1}),
        (SearchFilters(job_ids=("job-1",), start_s=8.0), {1, 2}),
        (SearchFilters(job_ids=("job-1",), start_s=7.9, end_s=10.1), {0, 1}),
        (SearchFilters(metadata={"term": "autumn"}), {0}),
        (SearchFilters(metadata={"a.b[0]": "x", "term": "autumn"}), {0}),
        (SearchFilters(metadata={"term": "spring"}), set()),
        (SearchFilters(languages=("fr",)), set()),
    ],
)
async def test_filters(store: PassageStore, mode: SearchMode, filters: SearchFilters, positions: set[int]) -> None:
    await fill(store, *PASSAGES)
    hits = await search(store, "the in two divide zug fährt exam train", mode=mode, filters=filters)
    assert {hit.passage.position for hit in hits} == positions


async def test_writing_twice_changes_nothing(store: PassageStore) -> None:
    await fill(store, *PASSAGES)
    before = await search(store, "the train")
    await fill(store, *PASSAGES)
    assert await search(store, "the train") == before
    assert (await store.collections("a"))[0].passages == len(PASSAGES)


async def test_writing_under_the_same_id_replaces(store: PassageStore) -> None:
    await fill(store, *PASSAGES)
    await fill(store, replace(PASSAGES[0], text="the exam was moved to June"))
    assert (await search(store, "exam"))[0].passage.text == "the exam was moved to June"


async def test_more_passages_than_a_batch(store: PassageStore) -> None:
    many = tuple(passage(f"number{n} of many", position=n) for n in range(150))
    await fill(store, *many)
    assert (await search(store, "number149"))[0].passage == many[149]
    assert await store.passages("a", "notes", "job-1") == many


async def test_the_passages_of_a_job_come_in_order(store: PassageStore) -> None:
    await fill(store, *reversed(PASSAGES))
    assert await store.passages("a", "notes", "job-1") == PASSAGES[:3]
    assert await store.passages("a", "notes", "job-1", positions=(2, 0, 7, -1)) == (PASSAGES[0], PASSAGES[2])
    assert await store.passages("a", "notes", "job-1", positions=()) == ()
    assert await store.passages("a", "notes", "job-9") == ()
    assert await store.passages("a", "nowhere", "job-1") == ()


async def test_deleting_a_job_leaves_the_others(store: PassageStore) -> None:
    await fill(store, *PASSAGES)
    await store.delete_job("a", "notes", "job-1", from_position=1)
    assert await store.passages("a", "notes", "job-1") == PASSAGES[:1]
    await store.delete_job("a", "notes", "job-1")
    await store.delete_job("a", "notes", "job-1")
    await store.delete_job("a", "nowhere", "job-1")
    assert {hit.passage.job_id for hit in await search(store, "the exam zug", mode="dense")} == {"job-2"}


async def test_vectors_of_two_models_never_mix(store: PassageStore) -> None:
    await fill(store, *PASSAGES)
    mine = await FakeEmbedder().info()
    for other in (replace(mine, name="other"), replace(mine, checkpoint_hash="sha256:other")):
        with pytest.raises(EmbedderMismatch):
            await store.ensure_collection("a", "notes", other)
        with pytest.raises(EmbedderMismatch):
            await store.search(
                "a",
                "notes",
                await FakeEmbedder().embed_query("exam"),
                mode="hybrid",
                top_k=1,
                filters=SearchFilters(),
                embedder=other,
            )
    [vector] = await FakeEmbedder().embed_passages(["exam"])
    with pytest.raises(EmbedderMismatch):
        await store.upsert("a", "notes", PASSAGES[:1], [replace(vector, dense=(1.0, 0.0))], embedder=mine)
    with pytest.raises(EmbedderMismatch):
        await store.upsert("a", "notes", PASSAGES[:1], [vector], embedder=replace(mine, name="other"))
    assert (await search(store, "exam"))[0].passage == PASSAGES[0]


async def test_lengths_must_agree(store: PassageStore) -> None:
    await fill(store, *PASSAGES)
    with pytest.raises(ValueError, match="argument"):
        await store.upsert("a", "notes", PASSAGES, [], embedder=await FakeEmbedder().info())


async def test_what_is_not_there_is_not_found(store: PassageStore) -> None:
    with pytest.raises(NotFound):
        await search(store, "exam")
    with pytest.raises(NotFound):
        await store.delete_collection("a", "notes")
    vectors, embedder = await FakeEmbedder().embed_passages(["x"]), await FakeEmbedder().info()
    with pytest.raises(NotFound):
        await store.upsert("a", "notes", PASSAGES[:1], vectors, embedder=embedder)


async def test_a_collection_can_be_deleted_and_made_anew(store: PassageStore) -> None:
    await fill(store, *PASSAGES)
    await store.delete_collection("a", "notes")
    with pytest.raises(NotFound):
        await search(store, "exam")
    assert await store.collections("a") == ()
    await fill(store, PASSAGES[1])
    assert [hit.passage for hit in await search(store, "exam")] == [PASSAGES[1]]


async def test_collections_are_listed_by_name(store: PassageStore) -> None:
    await fill(store, *PASSAGES, collection="b")
    await fill(store, PASSAGES[0], collection="a")
    await fill(store, PASSAGES[0], tenant="z", collection="c")
    first, second = await store.collections("a")
    assert (first.name, first.passages, first.languages) == ("a", 1, ("en",))
    assert (second.name, second.passages, second.languages) == ("b", 4, ("de", "en"))
    assert (second.embedder, second.embedder_hash, second.vector_size) == ("bag-of-words", "sha256:fake", 64)
    assert await store.collections("nobody") == ()
    assert (await store.collection("a", "a"), await store.collection("a", "b")) == (first, second)
    for tenant, name in (("a", "c"), ("nobody", "a")):
        with pytest.raises(NotFound):
            await store.collection(tenant, name)


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_name_reaches_another_tenants_collection(store: PassageStore, name: str) -> None:
    await fill(store, passage("the secret of tenant b", tenant="b"), tenant="b", collection="notes")
    await fill(store, passage("the secret of somebody"), tenant=name, collection="notes")
    await fill(store, passage("the words of tenant a"), tenant="a", collection=name)
    assert [info.name for info in await store.collections("a")] == [name]
    hits = await search(store, "the secret words of", collection=name)
    assert [hit.passage.text for hit in hits] == ["the words of tenant a"]
    await store.delete_collection("a", name)
    assert len(await search(store, "secret", tenant="b")) == 1
    assert len(await search(store, "secret", tenant=name)) == 1


async def test_a_collection_is_searchable_while_it_is_written(store: PassageStore) -> None:
    await fill(store, *PASSAGES)
    many = [passage(f"filler {n}", job="job-3", position=n) for n in range(200)]
    writing = asyncio.create_task(fill(store, *many))
    found = [await search(store, "exam") for _ in range(5)]
    await writing
    assert all(hits[0].passage == PASSAGES[0] for hits in found)
    assert len(await store.passages("a", "notes", "job-3")) == 200
