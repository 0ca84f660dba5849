"""What every CollectionReplacer must do, by the flow that uses it, over the fake and over Qdrant in this process."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from pipelines.domain.model import ModelInfo
from pipelines.domain.passage import Embedding, SearchRequest
from pipelines.errors import EmbedderMismatch, NotFound
from pipelines.fakes.models import FakeEmbedder
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.flows.reindex_collection import BATCH, ReindexPosition, reindex_collection
from pipelines.flows.search_passages import search_passages
from pipelines.passage_ports import CollectionReplacer, PassageStore
from pipelines.stores.qdrant_passages import QdrantPassageStore
from tests.contracts.test_passage_store import PASSAGES, fill, passage


class Store(PassageStore, CollectionReplacer, Protocol):
    """Both at once."""


class OtherEmbedder(FakeEmbedder):
    """Another model, with shorter vectors."""

    vector_size = 32

    async def info(self) -> ModelInfo:
        return replace(await super().info(), name="other")


@pytest.fixture(params=["fake", "qdrant folder"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "fake":
        yield InMemoryPassageStore()
        return
    qdrant = await QdrantPassageStore.open(tmp_path / "qdrant")
    yield qdrant
    await qdrant.close()


async def best(store: Store, embedder: FakeEmbedder, query: str = "when is the exam") -> str:
    found = await search_passages(embedder, store, "a", SearchRequest(query=query, collections=("notes",)))
    return found.hits[0].passage.text


async def test_a_collection_moves_to_another_embedder(store: Store) -> None:
    many = tuple(passage(f"number{n} of many", job="job-3", position=n) for n in range(100))
    await fill(store, *PASSAGES, *many)
    seen: list[int] = []

    async def on_progress(position: ReindexPosition) -> None:
        seen.append(position.embedded)
        assert await best(store, FakeEmbedder()) == PASSAGES[0].text

    assert await reindex_collection(OtherEmbedder(), store, "a", "notes", on_progress) == 104
    assert seen == sorted(seen)
    assert seen[-1] == 104
    assert await best(store, OtherEmbedder()) == PASSAGES[0].text
    with pytest.raises(EmbedderMismatch):
        await best(store, FakeEmbedder())
    [info] = await store.collections("a")
    assert (info.embedder, info.vector_size, info.passages) == ("other", 32, 104)
    assert await store.passages("a", "notes", "job-3") == many


async def test_reindexing_with_the_same_embedder_does_nothing(store: Store) -> None:
    await fill(store, *PASSAGES)
    assert await reindex_collection(FakeEmbedder(), store, "a", "notes") == 0
    assert await best(store, FakeEmbedder()) == PASSAGES[0].text


async def test_what_is_written_and_removed_meanwhile_is_followed_up(store: Store) -> None:
    await fill(store, *PASSAGES)

    class Interrupted(OtherEmbedder):
        """While it embeds for the first time, others write."""

        interrupted = False

        async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
            if not self.interrupted:
                self.interrupted = True
                await store.delete_job("a", "notes", "job-2")
                await fill(
                    store,
                    replace(PASSAGES[0], text="the exam was moved to June"),
                    passage("a late passage about whales", job="job-9"),
                )
            return await super().embed_passages(texts)

    assert await reindex_collection(Interrupted(), store, "a", "notes") == 6
    assert await best(store, OtherEmbedder()) == "the exam was moved to June"
    assert await best(store, OtherEmbedder(), "late whales") == "a late passage about whales"
    assert await store.passages("a", "notes", "job-2") == ()


async def test_a_reindexing_that_broke_off_is_hidden_and_can_be_done_again(store: Store) -> None:
    await fill(store, *PASSAGES)

    class Breaks(OtherEmbedder):
        async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        await reindex_collection(Breaks(), store, "a", "notes")
    assert [info.embedder for info in await store.collections("a")] == ["bag-of-words"]
    with pytest.raises(EmbedderMismatch):
        await best(store, OtherEmbedder())
    await reindex_collection(OtherEmbedder(), store, "a", "notes")
    assert await best(store, OtherEmbedder()) == PASSAGES[0].text


async def test_two_at_once_do_not_harm_each_other(store: Store) -> None:
    await fill(store, *PASSAGES)

    async def move_as_well(position: ReindexPosition) -> None:
        await reindex_collection(OtherEmbedder(), store, "a", "notes")

    await reindex_collection(OtherEmbedder(), store, "a", "notes", move_as_well)
    assert await best(store, OtherEmbedder()) == PASSAGES[0].text
    [info] = await store.collections("a")
    assert (info.embedder, info.passages) == ("other", len(PASSAGES))


async def test_one_that_broke_off_goes_on_where_it_was(store: Store) -> None:
    many = tuple(passage(f"number{n} of many", job="job-3", position=n) for n in range(2 * BATCH))
    await fill(store, *many)
    noted: list[ReindexPosition] = []

    async def break_off(position: ReindexPosition) -> None:
        noted.append(position)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        await reindex_collection(OtherEmbedder(), store, "a", "notes", break_off)
    embedder = OtherEmbedder()
    embedded: list[int] = []

    async def count(position: ReindexPosition) -> None:
        embedded.append(position.embedded)

    assert await reindex_collection(embedder, store, "a", "notes", count, start=noted[-1]) == 2 * BATCH
    assert embedded == [2 * BATCH]
    [info] = await store.collections("a")
    assert (info.embedder, info.passages) == ("other", 2 * BATCH)
    assert await reindex_collection(embedder, store, "a", "notes", start=noted[-1]) == BATCH


async def test_vectors_of_the_old_model_cannot_be_written_after_the_switch(store: Store) -> None:
    await fill(store, *PASSAGES)
    [vector] = await FakeEmbedder().embed_passages(["exam"])
    await reindex_collection(OtherEmbedder(), store, "a", "notes")
    with pytest.raises(EmbedderMismatch):
        await store.upsert("a", "notes", PASSAGES[:1], [vector])


async def test_a_collection_that_is_deleted_while_it_moves_stays_deleted(store: Store) -> None:
    await fill(store, *(passage(f"number{n}", job="job-3", position=n) for n in range(2 * BATCH)))

    async def delete(position: ReindexPosition) -> None:
        await store.delete_collection("a", "notes")

    with pytest.raises(NotFound):
        await reindex_collection(OtherEmbedder(), store, "a", "notes", delete)
    assert await store.collections("a") == ()


async def test_there_must_be_a_collection(store: Store) -> None:
    with pytest.raises(NotFound):
        await reindex_collection(OtherEmbedder(), store, "a", "notes")
