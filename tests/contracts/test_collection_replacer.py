"""What every CollectionReplacer must do, by the flow that uses it, over the fake and over Qdrant in this process."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Embedding, Passage, SearchRequest
from pipelines.errors import Conflict, EmbedderMismatch, NotFound, RayScribeError
from pipelines.fakes.models import FakeEmbedder
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.ports.passages import CollectionReplacer, PassageStore, Replacement, ReplacementState
from pipelines.retrieval.indexing import BATCH, ReindexPosition, reindex_collection
from pipelines.retrieval.search import search_passages
from pipelines.stores.qdrant.passages import QdrantPassageStore
from tests.contracts.test_passage_store import PASSAGES, fill, passage


class Store(PassageStore, CollectionReplacer, Protocol):
    """Both at once."""


class OtherEmbedder(FakeEmbedder):
    """Another model, with shorter vectors."""

    vector_size = 32

    async def info(self) -> EmbedderInfo:
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

    async def write_and_remove() -> None:
        await store.delete_job("a", "notes", "job-2")
        await fill(
            store,
            replace(PASSAGES[0], text="the exam was moved to June"),
            passage("a late passage about whales", job="job-9"),
        )

    assert await reindex_collection(Interrupted(write_and_remove), store, "a", "notes") == 6
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


async def test_of_two_at_once_the_one_that_began_later_goes_on(store: Store) -> None:
    await fill(store, *PASSAGES)

    async def move_as_well(position: ReindexPosition) -> None:
        await reindex_collection(OtherEmbedder(), store, "a", "notes")

    with pytest.raises(Conflict, match="another one"):
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
        await reindex_collection(OtherEmbedder(), store, "a", "notes", break_off, token="job-7")
    embedder = OtherEmbedder()
    embedded: list[int] = []

    async def count(position: ReindexPosition) -> None:
        embedded.append(position.embedded)

    start = noted[-1]
    assert await reindex_collection(embedder, store, "a", "notes", count, start=start, token="job-7") == 2 * BATCH
    assert embedded == [2 * BATCH]
    [info] = await store.collections("a")
    assert (info.embedder, info.passages) == ("other", 2 * BATCH)
    assert await reindex_collection(embedder, store, "a", "notes", start=start, token="job-7") == BATCH


async def test_where_nothing_is_left_a_note_of_how_far_it_was_says_nothing(store: Store) -> None:
    await fill(store, *(passage(f"number{n}", job="job-3", position=n) for n in range(BATCH)))
    stale = ReindexPosition(embedded=BATCH, batches=1, scanned=True)
    assert await reindex_collection(OtherEmbedder(), store, "a", "notes", start=stale, token="job-7") == BATCH


async def test_vectors_of_the_old_model_cannot_be_written_after_the_switch(store: Store) -> None:
    await fill(store, *PASSAGES)
    old = await FakeEmbedder().info()
    [vector] = await FakeEmbedder().embed_passages(["exam"])
    await store.ensure_collection("a", "notes", old)
    await reindex_collection(OtherEmbedder(), store, "a", "notes")
    with pytest.raises(EmbedderMismatch):
        await store.upsert("a", "notes", PASSAGES[:1], [vector], embedder=old)


async def test_vectors_of_two_models_of_one_size_do_not_mix_after_a_switch(store: Store) -> None:
    class SameSize(OtherEmbedder):
        vector_size = FakeEmbedder.vector_size

    await fill(store, *PASSAGES)
    await reindex_collection(SameSize(), store, "a", "notes")
    vectors = await FakeEmbedder().embed_passages(["exam"])
    with pytest.raises(EmbedderMismatch):
        await store.upsert("a", "notes", PASSAGES[:1], vectors, embedder=await FakeEmbedder().info())


class Interrupted(OtherEmbedder):
    """Something else happens while it embeds for the first time."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self._meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().embed_passages(texts)


async def other_fill(store: Store, *passages: Passage) -> None:
    """Index with the other embedder."""
    embedder = OtherEmbedder()
    await store.ensure_collection("a", "notes", await embedder.info())
    vectors = await embedder.embed_passages([each.text for each in passages])
    await store.upsert("a", "notes", passages, vectors, embedder=await embedder.info())


async def begun(store: Store, token: str = "job-7") -> Replacement:
    embedder = await OtherEmbedder().info()
    replacement = Replacement(tenant="a", collection="notes", embedder=embedder, token=token)
    await store.begin_replacement(replacement)
    return replacement


async def copy(store: Store, replacement: Replacement) -> tuple[Passage, ...]:
    """Fill in all that is lacking, and return it."""
    lacking, _ = await store.find_lacking(replacement, cursor=None, limit=1_000)
    await store.fill_replacement(replacement, lacking, await embed(lacking))
    return lacking


async def embed(passages: Sequence[Passage]) -> tuple[Embedding, ...]:
    return await OtherEmbedder().embed_passages([each.text for each in passages])


async def test_deleted_passages_do_not_come_back_into_a_collection_that_is_made_anew(store: Store) -> None:
    await fill(store, *PASSAGES)
    fresh = passage("something fresh", job="new")

    async def delete_and_make_anew() -> None:
        await store.delete_collection("a", "notes")
        await other_fill(store, fresh)

    with pytest.raises(Conflict):
        await reindex_collection(Interrupted(delete_and_make_anew), store, "a", "notes")
    assert [info.passages for info in await store.collections("a")] == [1]
    assert await store.passages("a", "notes", "job-1") == ()
    assert await store.passages("a", "notes", "new") == (fresh,)


async def test_erased_passages_do_not_come_back_by_a_slower_reindexing(store: Store) -> None:
    await fill(store, *PASSAGES)

    async def erase_and_move() -> None:
        await store.delete_job("a", "notes", "job-1")
        await reindex_collection(OtherEmbedder(), store, "a", "notes")

    with pytest.raises(Conflict):
        await reindex_collection(Interrupted(erase_and_move), store, "a", "notes")
    assert await store.passages("a", "notes", "job-1") == ()
    assert [(info.embedder, info.passages) for info in await store.collections("a")] == [("other", 1)]


async def test_what_is_erased_while_it_is_embedded_is_not_kept_in_the_replacement(store: Store) -> None:
    await fill(store, *PASSAGES[:3])

    async def erase() -> None:
        await store.delete_job("a", "notes", "job-1")

    async def break_off(position: ReindexPosition) -> None:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        await reindex_collection(Interrupted(erase), store, "a", "notes", break_off, token="job-7")
    replacement = await begun(store)
    assert await store.begin_replacement(replacement) is ReplacementState.BEGUN


async def test_erasing_reaches_what_has_been_copied(store: Store) -> None:
    await fill(store, *PASSAGES[:3])
    replacement = await begun(store)
    await copy(store, replacement)
    assert await store.begin_replacement(replacement) is ReplacementState.RESUMED
    await store.delete_job("a", "notes", "job-1")
    assert await store.begin_replacement(replacement) is ReplacementState.BEGUN


async def test_what_was_written_between_comparison_and_switch_is_followed_up(store: Store) -> None:
    await fill(store, *PASSAGES)
    replacement = await begun(store)
    await copy(store, replacement)
    late, changed = passage("late words", job="job-9"), replace(PASSAGES[0], text="the exam was moved to June")
    await fill(store, late, changed)
    await store.switch_replacement(replacement)
    assert {each.text for each in await copy(store, replacement)} == {late.text, changed.text}
    await store.complete_replacement(replacement)
    assert await store.passages("a", "notes", "job-9") == (late,)
    assert (await store.passages("a", "notes", "job-1"))[0] == changed


async def test_what_is_written_and_erased_after_the_switch_stays_so(store: Store) -> None:
    await fill(store, *PASSAGES)
    replacement = await begun(store)
    await store.switch_replacement(replacement)
    lacking, _ = await store.find_lacking(replacement, cursor=None, limit=10)
    assert len(lacking) == len(PASSAGES)
    newer = replace(PASSAGES[0], text="the exam was moved to June")
    await other_fill(store, newer)
    await store.delete_job("a", "notes", "job-2")
    await store.fill_replacement(replacement, lacking, await embed(lacking))
    assert await store.find_lacking(replacement, cursor=None, limit=10) == ((), None)
    await store.complete_replacement(replacement)
    assert await store.passages("a", "notes", "job-1") == (newer, *PASSAGES[1:3])
    assert await store.passages("a", "notes", "job-2") == ()


async def test_a_replacement_that_was_dropped_takes_nothing_more(store: Store) -> None:
    await fill(store, *PASSAGES)
    replacement = await begun(store)
    await store.drop_replacement("a", "notes", "job-8")
    await copy(store, replacement)
    await store.drop_replacement("a", "notes", "job-7")
    await store.drop_replacement("a", "notes", "job-7")
    await store.drop_replacement("a", "nowhere", "job-7")
    for refused in (
        store.find_lacking(replacement, cursor=None, limit=1),
        store.fill_replacement(replacement, PASSAGES, await embed(PASSAGES)),
        store.switch_replacement(replacement),
        store.complete_replacement(replacement),
    ):
        with pytest.raises(Conflict):
            await refused
    assert await store.begin_replacement(replacement) is ReplacementState.BEGUN
    assert await best(store, FakeEmbedder()) == PASSAGES[0].text


async def test_what_is_in_use_is_not_dropped(store: Store) -> None:
    await fill(store, *PASSAGES)
    await reindex_collection(OtherEmbedder(), store, "a", "notes", token="job-7")
    await store.drop_replacement("a", "notes", "job-7")
    assert await best(store, OtherEmbedder()) == PASSAGES[0].text


async def test_a_switch_comes_before_the_end(store: Store) -> None:
    await fill(store, *PASSAGES)
    replacement = await begun(store)
    await copy(store, replacement)
    with pytest.raises(Conflict):
        await store.complete_replacement(replacement)
    assert await best(store, FakeEmbedder()) == PASSAGES[0].text


async def test_every_step_can_be_repeated(store: Store) -> None:
    await fill(store, *PASSAGES)
    replacement = await begun(store)
    for _ in range(2):
        await store.fill_replacement(replacement, PASSAGES, await embed(PASSAGES))
    for _ in range(2):
        await store.switch_replacement(replacement)
        assert await store.begin_replacement(replacement) is ReplacementState.SWITCHED
    for _ in range(2):
        await store.complete_replacement(replacement)
        await store.switch_replacement(replacement)
    assert await store.find_lacking(replacement, cursor=None, limit=1) == ((), None)
    assert await store.begin_replacement(replacement) is ReplacementState.NEEDLESS
    with pytest.raises(Conflict):
        await store.fill_replacement(replacement, PASSAGES, await embed(PASSAGES))
    [info] = await store.collections("a")
    assert (info.embedder, info.passages) == ("other", len(PASSAGES))


async def test_lacking_passages_come_page_by_page(store: Store) -> None:
    many = tuple(passage(f"number{n}", job="job-3", position=n) for n in range(10))
    await fill(store, *many)
    replacement = await begun(store)
    await store.fill_replacement(replacement, many[:5], await embed(many[:5]))
    pages, cursor = [], None
    while True:
        page, cursor = await store.find_lacking(replacement, cursor=cursor, limit=3)
        pages.append(page)
        if cursor is None:
            break
    assert len(pages) == 4
    assert sorted(each.position for page in pages for each in page) == [5, 6, 7, 8, 9]


async def test_a_store_that_does_not_keep_what_is_written_is_not_tried_for_ever() -> None:
    class Forgetful(InMemoryPassageStore):
        async def fill_replacement(
            self, replacement: Replacement, passages: Sequence[Passage], embeddings: Sequence[Embedding]
        ) -> None:
            changed = [replace(each, text=each.text + "?") for each in passages]
            await super().fill_replacement(replacement, changed, embeddings)

    store = Forgetful()
    await fill(store, *PASSAGES)
    with pytest.raises(RayScribeError, match="does not keep"):
        await reindex_collection(OtherEmbedder(), store, "a", "notes")
    assert await best(store, FakeEmbedder()) == PASSAGES[0].text


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
