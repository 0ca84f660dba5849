"""What only embedded Qdrant can show: a process killed, a creation that broke off, a folder of another format."""

import asyncio
import shutil
import signal
import sys
from pathlib import Path

import pytest
from qdrant_client import models

from pipelines.errors import CollectionDamaged, PassageStoreUnavailable
from pipelines.stores.qdrant.connection import CollectionExists
from pipelines.stores.qdrant.edge_connection import EdgeConnection
from pipelines.stores.qdrant.edge_engine import EdgeEngine
from pipelines.stores.qdrant.names import alias_name
from pipelines.stores.qdrant.passages import QdrantPassageStore
from pipelines.stores.qdrant.records import SPARSE
from tests.contracts.test_passage_store import PASSAGES, fill, search

_WRITE_AND_DIE = """
import asyncio, os, signal, sys
from pathlib import Path
from pipelines.stores.qdrant.passages import QdrantPassageStore
from tests.contracts.test_passage_store import PASSAGES, fill

async def main():
    await fill(await QdrantPassageStore.open(Path(sys.argv[1])), *PASSAGES)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    dying = await asyncio.create_subprocess_exec(sys.executable, "-c", _WRITE_AND_DIE, str(tmp_path))
    assert await dying.wait() == -signal.SIGKILL
    store = await QdrantPassageStore.open(tmp_path)
    assert await store.passages("a", "notes", "job-1") == PASSAGES[:3]
    assert (await search(store, "when is the exam"))[0].passage == PASSAGES[0]
    await store.close()


async def test_a_creation_that_broke_off_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "shards" / "half-made").mkdir(parents=True)
    store = await QdrantPassageStore.open(tmp_path)
    assert list((tmp_path / "shards").iterdir()) == []
    await fill(store, *PASSAGES)
    await store.delete_collection("a", "notes")
    assert list((tmp_path / "shards").iterdir()) == []
    await store.close()


async def test_a_damaged_shard_is_one_collection_unavailable_and_says_no_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = await QdrantPassageStore.open(tmp_path)
    await fill(store, *PASSAGES)
    await fill(store, PASSAGES[0], tenant="z")
    await fill(store, PASSAGES[0], collection="other")
    await store.close()
    for damage in (_make_engine_panic, _tear_config, _empty_segment, _lose_shard):
        damage(shard_of(tmp_path, "a"))
        caplog.clear()
        store = await QdrantPassageStore.open(tmp_path)
        for _ in range(2):
            with pytest.raises(CollectionDamaged, match="cannot be loaded") as refused:
                await search(store, "when is the exam")
        assert str(tmp_path) not in str(refused.value)
        assert len([line for line in caplog.records if line.levelname == "ERROR"]) == 1
        assert [info.passages for info in await store.collections("z")] == [1]
        listed = await store.collections("a")
        assert [(info.name, info.passages, info.damaged) for info in listed] == [
            ("notes", 0, True),
            ("other", 1, False),
        ]
        await store.close()
    store = await QdrantPassageStore.open(tmp_path)
    await store.delete_collection("a", "notes")
    await fill(store, *PASSAGES)
    assert await store.passages("a", "notes", "job-1") == PASSAGES[:3]
    await store.close()


def shard_of(folder: Path, tenant: str) -> Path:
    [shard] = (folder / "shards").glob(f"{alias_name(tenant, 'notes')}*")
    return shard


def _make_engine_panic(shard: Path) -> None:
    for status in shard.rglob("status.dat"):
        status.write_bytes(b"")


def _tear_config(shard: Path) -> None:
    (shard / "edge_config.json").write_text("{")


def _empty_segment(shard: Path) -> None:
    for segment in shard.rglob("segment.json"):
        segment.write_text("")


def _lose_shard(shard: Path) -> None:
    shutil.rmtree(shard)


async def test_a_panic_of_the_engine_is_an_unavailable_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """As pyo3's, which cannot be imported."""

    def panic(_: EdgeEngine) -> None:
        raise PanicException

    connection = EdgeConnection(tmp_path)
    monkeypatch.setattr(EdgeEngine, "get_aliases", panic)
    with pytest.raises(PassageStoreUnavailable):
        await connection.call("get_aliases")
    await connection.close()


async def test_a_mistake_of_ours_is_not_called_a_failing_store(tmp_path: Path) -> None:
    connection = EdgeConnection(tmp_path)
    with pytest.raises(TypeError):
        await connection.call("count", collection="misspelt")
    await connection.close()


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    engine = EdgeEngine(tmp_path)

    def create() -> None:
        engine.create_collection(
            collection_name="c", vectors_config={}, sparse_vectors_config={SPARSE: _SPARSE}, metadata={}
        )

    create()
    with pytest.raises(CollectionExists):
        create()
    engine.close()


@pytest.mark.parametrize("former", ["meta.json", "shards/rayscribe-1/wal"])
async def test_a_folder_of_an_unknown_format_is_refused_and_left_as_it_is(tmp_path: Path, former: str) -> None:
    (tmp_path / former).mkdir(parents=True)
    for _ in range(2):  # and the attempt does not keep the lock
        with pytest.raises(PassageStoreUnavailable, match=r"format .* index the recordings again") as refused:
            await QdrantPassageStore.open(tmp_path)
    assert str(tmp_path) not in str(refused.value)
    assert (tmp_path / former).exists()


_SPARSE = models.SparseVectorParams(modifier=models.Modifier.IDF)
