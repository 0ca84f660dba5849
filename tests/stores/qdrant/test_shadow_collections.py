"""What only Qdrant can show when a collection is made, moved and deleted: calls between two calls, and what is left."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import models

from pipelines.errors import Conflict, EmbedderMismatch, NotFound, PassageStoreUnavailable
from pipelines.fakes.models import FakeEmbedder
from pipelines.ports.passages import ReplacementState
from pipelines.retrieval.indexing import BATCH, ReindexPosition, reindex_collection
from pipelines.stores.qdrant.connection import Connection
from pipelines.stores.qdrant.edge_connection import EdgeConnection
from pipelines.stores.qdrant.names import alias_name, physical_name
from pipelines.stores.qdrant.passages import QdrantPassageStore
from pipelines.stores.qdrant.records import to_point
from tests.contracts.test_collection_replacer import OtherEmbedder, begun, copy, other_fill
from tests.contracts.test_passage_store import PASSAGES, fill, passage, search

Happening = Callable[[], Awaitable[object]]


class WatchedConnection:
    """Lets something happen just before a call, once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._before: dict[str, Happening] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def before(self, method: str, happening: Happening) -> None:
        self._before[method] = happening

    async def call(self, method: str, **arguments: Any) -> Any:
        self.calls.append((method, arguments))
        if (happening := self._before.pop(method, None)) is not None:
            await happening()
        return await self._connection.call(method, **arguments)

    async def close(self) -> None:
        await self._connection.close()

    async def physical(self) -> list[str]:
        return [found.name for found in (await self._connection.call("get_collections")).collections]


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[WatchedConnection]:
    watched = WatchedConnection(EdgeConnection(tmp_path))
    yield watched
    await watched.close()


@pytest.fixture
def store(connection: WatchedConnection) -> QdrantPassageStore:
    return QdrantPassageStore(connection)


async def fail() -> None:
    raise PassageStoreUnavailable("gone")


async def copied(store: QdrantPassageStore) -> None:
    """Fill a collection, and its replacement completely."""
    await fill(store, *PASSAGES)
    assert len(await copy(store, await begun(store))) == len(PASSAGES)


async def move(store: QdrantPassageStore) -> None:
    """Switch to the replacement and drop the old vectors."""
    replacement = await begun(store)
    await store.switch_replacement(replacement)
    await store.complete_replacement(replacement)


class TestDeletion:
    async def test_one_that_breaks_off_leaves_a_collection_that_can_be_deleted_again(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await copied(store)
        [live] = {found for found in await connection.physical() if found == await own_name()}

        async def fail_at_the_second() -> None:
            connection.before("delete_collection", fail)

        connection.before("delete_collection", fail_at_the_second)
        with pytest.raises(PassageStoreUnavailable):
            await store.delete_collection("a", "notes")
        assert await connection.physical() == [live]
        await store.delete_collection("a", "notes")
        assert await connection.physical() == []

    async def test_what_a_broken_off_deletion_left_is_not_adopted(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await copied(store)
        await lose_alias(connection)
        assert await store.collections("a") == ()
        await fill(store, PASSAGES[3])
        assert [hit.passage for hit in await search(store, "exam cells train zug", mode="dense")] == [PASSAGES[3]]
        assert await connection.physical() == [await own_name()]

    async def test_a_replacement_that_is_begun_meanwhile_goes_as_well(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await fill(store, *PASSAGES)
        connection.before("delete_collection", lambda: begun(store))
        await store.delete_collection("a", "notes")
        assert await connection.physical() == []

    @pytest.mark.parametrize("method", ["create_collection", "create_payload_index", "update_collection_aliases"])
    async def test_during_a_reindexing_it_is_not_found(
        self, store: QdrantPassageStore, connection: WatchedConnection, method: str
    ) -> None:
        await fill(store, *PASSAGES)
        connection.before(method, lambda: store.delete_collection("a", "notes"))
        with pytest.raises(NotFound):
            await reindex_collection(OtherEmbedder(), store, "a", "notes")
        assert await store.collections("a") == ()
        assert await connection.physical() == []

    async def test_while_passages_are_written_they_are_refused(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await fill(store, *PASSAGES)
        connection.before("upsert", lambda: store.delete_collection("a", "notes"))
        vectors = await FakeEmbedder().embed_passages([PASSAGES[0].text])
        with pytest.raises(NotFound):
            await store.upsert("a", "notes", PASSAGES[:1], vectors, embedder=await FakeEmbedder().info())


class TestCreation:
    @pytest.mark.parametrize("method", ["get_collections", "create_collection", "create_payload_index"])
    async def test_two_at_once_make_one_collection(
        self, store: QdrantPassageStore, connection: WatchedConnection, method: str
    ) -> None:
        other_process = QdrantPassageStore(connection)
        connection.before(method, lambda: fill(other_process, *PASSAGES[:3]))
        await fill(store, PASSAGES[3])
        assert [info.passages for info in await store.collections("a")] == [4]
        assert await connection.physical() == [await own_name()]

    @pytest.mark.parametrize("method", ["create_payload_index", "update_collection_aliases"])
    async def test_one_that_broke_off_is_completed(
        self, store: QdrantPassageStore, connection: WatchedConnection, method: str
    ) -> None:
        connection.before(method, fail)
        with pytest.raises(PassageStoreUnavailable):
            await fill(store, *PASSAGES)
        await fill(store, *PASSAGES)
        assert [info.passages for info in await store.collections("a")] == [4]

    async def test_what_is_deleted_while_it_is_made_is_made_again(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        async def delete() -> None:
            for name in await connection.physical():
                await connection.call("delete_collection", collection_name=name)

        connection.before("update_collection_aliases", delete)
        await fill(store, *PASSAGES)
        assert [info.passages for info in await store.collections("a")] == [4]


class TestSwitch:
    async def test_what_is_written_just_before_it_is_there_afterwards(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await fill(store, *PASSAGES)
        connection.calls.clear()
        late = passage("written meanwhile", job="job-9")

        async def write() -> None:
            await fill(store, late)

        connection.before("update_collection_aliases", write)
        await reindex_collection(OtherEmbedder(), store, "a", "notes")
        assert await store.passages("a", "notes", "job-9") == (late,)

    async def test_what_another_process_writes_across_it_is_refused(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        other_process = QdrantPassageStore(connection)
        await copied(store)
        await fill(other_process, *PASSAGES)  # it remembers where the collection is
        replacement = await begun(store)
        connection.before("upsert", lambda: store.switch_replacement(replacement))
        with pytest.raises(EmbedderMismatch):
            await fill_without_asking(other_process)

    async def test_a_collection_is_listed_during_it(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await copied(store)
        connection.before("count", lambda: move(store))
        assert [(info.name, info.embedder) for info in await store.collections("a")] == [("notes", "other")]

    async def test_a_first_call_during_it_finds_the_collection(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await copied(store)
        starting = QdrantPassageStore(connection)
        connection.before("scroll", lambda: move(store))
        assert await starting.passages("a", "notes", "job-1") == PASSAGES[:3]

    async def test_old_vectors_that_could_not_be_dropped_are_dropped_by_the_next_call(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await copied(store)
        replacement = await begun(store)
        await store.switch_replacement(replacement)
        connection.before("delete_collection", fail)
        with pytest.raises(PassageStoreUnavailable):
            await store.complete_replacement(replacement)
        assert len(await connection.physical()) == 2
        await store.complete_replacement(replacement)
        assert len(await connection.physical()) == 1

    @pytest.mark.parametrize("token", ["job-7", "another"])
    async def test_one_that_broke_off_half_way_is_cleaned_up_by_the_next_attempt(
        self, store: QdrantPassageStore, connection: WatchedConnection, token: str
    ) -> None:
        await fill(store, *PASSAGES)
        connection.before("delete_collection", fail)
        with pytest.raises(PassageStoreUnavailable):
            await reindex_collection(OtherEmbedder(), store, "a", "notes", token="job-7")
        assert [info.embedder for info in await store.collections("a")] == ["other"]
        assert len(await connection.physical()) == 2
        assert await reindex_collection(OtherEmbedder(), store, "a", "notes", token=token) == 0
        assert len(await connection.physical()) == 1
        assert [info.passages for info in await store.collections("a")] == [len(PASSAGES)]

    async def test_an_erasure_during_the_last_copying_holds(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await fill(store, *PASSAGES)
        replacement = await begun(store)
        await store.switch_replacement(replacement)
        connection.before("upsert", lambda: store.delete_job("a", "notes", "job-1"))
        await copy(store, replacement)
        await store.complete_replacement(replacement)
        assert await store.passages("a", "notes", "job-1") == ()
        assert await store.passages("a", "notes", "job-2") == PASSAGES[3:]


class TestErasure:
    async def test_passages_copied_between_two_deletions_go_as_well(
        self, store: QdrantPassageStore, connection: WatchedConnection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await fill(store, *PASSAGES)
        replacement = await begun(store)
        hidden = [name for name in await connection.physical() if name != await own_name()]
        monkeypatch.setattr(store._collections, "physical_names", order(store, hidden[0]))

        async def copy_before_the_second() -> None:
            connection.before("delete", lambda: copy(store, replacement))

        connection.before("delete", copy_before_the_second)  # of the original: the copy comes first
        await store.delete_job("a", "notes", "job-1")
        assert [each.job_id for each in await everything(store, hidden[0])] == ["job-2"]

    async def test_one_deletion_is_enough_where_nothing_is_copied(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await fill(store, *PASSAGES)
        connection.calls.clear()
        await store.delete_job("a", "notes", "job-1")
        assert [method for method, _ in connection.calls].count("delete") == 1


class TestComparison:
    async def test_times_that_the_engine_does_not_keep_are_the_same(self, store: QdrantPassageStore) -> None:
        tiny = [
            replace(passage("a word", job="job-3", position=n), start_s=7.0401608412580886e-12 * (n + 1))
            for n in range(BATCH)
        ]
        await fill(store, *tiny)
        assert await reindex_collection(OtherEmbedder(), store, "a", "notes") == BATCH
        assert [info.embedder for info in await store.collections("a")] == ["other"]

    async def test_a_payload_of_an_earlier_version_is_the_same(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await fill(store, *PASSAGES)
        older = replace(PASSAGES[0], spans=())
        [vector] = await FakeEmbedder().embed_passages([older.text])
        point = to_point(older, vector)
        payload = {key: value for key, value in (point.payload or {}).items() if key != "spans"}
        points = [models.PointStruct(id=point.id, vector=point.vector, payload=payload)]
        await connection.call("upsert", collection_name=await own_name(), points=points, wait=True)
        assert await reindex_collection(OtherEmbedder(), store, "a", "notes") == len(PASSAGES)
        assert (await store.passages("a", "notes", "job-1"))[0] == older

    async def test_no_call_reads_more_than_a_page(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await fill(store, *(passage(f"number{n}", job="job-3", position=n) for n in range(4 * BATCH)))
        replacement = await begun(store)
        connection.calls.clear()
        lacking, cursor = await store.find_lacking(replacement, cursor=None, limit=BATCH)
        assert (len(lacking), cursor is None) == (BATCH, False)
        scrolls = [arguments for method, arguments in connection.calls if method == "scroll"]
        assert len(scrolls) == 2
        assert max(arguments["limit"] for arguments in scrolls) <= 500

    async def test_another_reindexing_drops_what_the_one_before_left(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await copied(store)
        await begun(store, "job-8")
        assert len(await connection.physical()) == 2
        assert [len(await everything(store, name)) for name in sorted(await connection.physical(), key=len)] == [4, 0]

    async def test_a_replacement_of_vectors_that_were_switched_away_is_begun_anew(
        self, store: QdrantPassageStore
    ) -> None:
        await copied(store)
        replacement = await begun(store)
        third = replace(await FakeEmbedder().info(), name="third")
        name = physical_name("a", "notes", third)
        await store._collections.create("a", "notes", third, name)
        await store._collections.point_alias("a", "notes", name)
        with pytest.raises(Conflict):
            await store.switch_replacement(replacement)
        assert await store.begin_replacement(replacement) is ReplacementState.BEGUN
        await store.switch_replacement(replacement)

    async def test_a_replacement_of_a_collection_that_was_deleted_is_begun_anew(
        self, store: QdrantPassageStore, connection: WatchedConnection
    ) -> None:
        await copied(store)
        replacement = await begun(store)
        hidden = [name for name in await connection.physical() if name != await own_name()]
        await store.delete_collection("a", "notes")
        await fill(store, PASSAGES[3])
        assert await store.begin_replacement(replacement) is ReplacementState.BEGUN
        assert hidden[0] in await connection.physical()
        assert await everything(store, hidden[0]) == []


async def test_what_the_other_embedder_writes_right_after_the_switch_is_kept(
    store: QdrantPassageStore, connection: WatchedConnection
) -> None:
    await fill(store, *PASSAGES)
    newer = replace(PASSAGES[0], text="the exam was moved to June")
    switched = False

    async def write_after_the_switch(position: ReindexPosition) -> None:
        nonlocal switched
        if not switched:
            switched = True
            connection.before("update_collection_aliases", lambda: fill(store, passage("late", job="job-9")))

    class Writing(OtherEmbedder):
        async def embed_passages(self, texts: Sequence[str]) -> tuple[Any, ...]:
            if list(texts) == ["late"]:
                await other_fill(store, newer)
            return await super().embed_passages(texts)

    await reindex_collection(Writing(), store, "a", "notes", write_after_the_switch)
    assert (await store.passages("a", "notes", "job-1"))[0] == newer
    assert len(await store.passages("a", "notes", "job-9")) == 1


async def own_name() -> str:
    return physical_name("a", "notes", await FakeEmbedder().info())


async def lose_alias(connection: WatchedConnection) -> None:
    """As a server that died while it deleted the collection: the alias goes first."""
    await connection.call(
        "create_collection",
        collection_name="elsewhere",
        vectors_config={"dense": models.VectorParams(size=2, distance=models.Distance.COSINE)},
        sparse_vectors_config={},
        metadata={},
    )
    alias = models.CreateAlias(collection_name="elsewhere", alias_name=alias_name("a", "notes"))
    operations = [models.CreateAliasOperation(create_alias=alias)]
    await connection.call("update_collection_aliases", change_aliases_operations=operations)
    await connection.call("delete_collection", collection_name="elsewhere")


async def fill_without_asking(store: QdrantPassageStore) -> None:
    """Write as a job that has ensured its collection a while ago."""
    vectors = await FakeEmbedder().embed_passages([PASSAGES[0].text])
    await store.upsert("a", "notes", PASSAGES[:1], vectors, embedder=await FakeEmbedder().info())


def order(store: QdrantPassageStore, first: str) -> Callable[[str, str], Coroutine[Any, Any, tuple[str, ...]]]:
    """List this physical collection first."""
    names = store._collections.physical_names

    async def listed(tenant: str, collection: str) -> tuple[str, ...]:
        return tuple(sorted(await names(tenant, collection), key=lambda name: name != first))

    return listed


async def everything(store: QdrantPassageStore, name: str) -> list[Any]:
    records, _ = await store._connection.call("scroll", collection_name=name, limit=100)
    return [type("Found", (), record.payload) for record in records]
