"""The embedded store's catalogue: lost, torn, or not to be written for a moment, nothing is lost with it."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from qdrant_client import models

from pipelines.errors import PassageStoreUnavailable
from pipelines.stores.qdrant.edge_catalogue import RECORD
from pipelines.stores.qdrant.edge_engine import EdgeEngine
from pipelines.stores.qdrant.passages import QdrantPassageStore
from pipelines.stores.qdrant.records import SPARSE
from tests.contracts.test_passage_store import PASSAGES, fill

_WORDS = models.SparseVectorParams(modifier=models.Modifier.IDF)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A folder with a collection each of two tenants."""
    store = await QdrantPassageStore.open(tmp_path)
    await fill(store, *PASSAGES)
    await fill(store, PASSAGES[0], tenant="z")
    await store.close()
    return tmp_path


@pytest.mark.parametrize("content", [None, "", '{"coll', "null", "[]", '{"collections": {"a": 1}, "aliases": {}}'])
async def test_a_lost_or_torn_catalogue_is_made_again(folder: Path, content: str | None) -> None:
    if content is None:
        (folder / "collections.json").unlink()
    else:
        (folder / "collections.json").write_text(content)
    for _ in range(2):
        store = await QdrantPassageStore.open(folder)
        assert await store.passages("a", "notes", "job-1") == PASSAGES[:3]
        assert [(info.name, info.passages) for info in await store.collections("z")] == [("notes", 1)]
        await store.close()


async def test_a_catalogue_that_lacks_a_collection_is_completed(folder: Path) -> None:
    known = json.loads((folder / "collections.json").read_text())
    (folder / "collections.json").write_text(json.dumps({"collections": {}, "aliases": {}}))
    store = await QdrantPassageStore.open(folder)
    assert await store.passages("a", "notes", "job-1") == PASSAGES[:3]
    await store.close()
    assert json.loads((folder / "collections.json").read_text())["aliases"] == known["aliases"]


async def test_a_lost_catalogue_of_shards_that_say_nothing_removes_none(folder: Path) -> None:
    for record in _records(folder):
        record.unlink()
    catalogue = (folder / "collections.json").read_text()
    (folder / "collections.json").unlink()
    for _ in range(2):  # and the attempt does not keep the lock
        with pytest.raises(PassageStoreUnavailable, match=r"collections\.json .* backup") as refused:
            await QdrantPassageStore.open(folder)
    assert str(folder) not in str(refused.value)
    (folder / "collections.json").write_text(catalogue)
    store = await QdrantPassageStore.open(folder)
    assert await store.passages("a", "notes", "job-1") == PASSAGES[:3]
    await store.close()
    assert len(_records(folder)) == 2  # what said nothing says it from now on


def test_a_lost_catalogue_remembers_the_last_switch(tmp_path: Path) -> None:
    engine = EdgeEngine(tmp_path)
    for name in ("a-1", "a-2", "b-1"):
        _create(engine, name)
    for alias, name in (("a", "a-2"), ("b", "b-1"), ("a", "a-1"), ("again", "a-2")):
        _point_alias(engine, alias, name)
    aliases = dict(engine._catalogue.aliases)
    engine.close()
    (tmp_path / "collections.json").unlink()
    engine = EdgeEngine(tmp_path)
    assert engine._catalogue.aliases == aliases == {"a": "a-1", "again": "a-2", "b": "b-1"}
    assert engine.get_collection(collection_name="a").config.metadata == {"called": "a-1"}
    engine.close()


async def test_a_removal_that_broke_off_is_finished(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await QdrantPassageStore.open(folder)
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.stores.qdrant.edge_shards.shutil.rmtree", _killed)
        with pytest.raises(_Killed):
            await store.delete_collection("a", "notes")
    await store.close()
    store = await QdrantPassageStore.open(folder)
    assert await store.collections("a") == ()
    assert len(list((folder / "shards").iterdir())) == 1
    await store.close()


async def test_a_creation_is_not_believed_before_it_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await QdrantPassageStore.open(folder)
    with _disk_full(monkeypatch), pytest.raises(PassageStoreUnavailable):
        await fill(store, *PASSAGES, tenant="b")
    assert await store.collections("b") == ()
    assert len(list((folder / "shards").iterdir())) == 2
    await fill(store, *PASSAGES, tenant="b")
    assert await store.passages("b", "notes", "job-1") == PASSAGES[:3]
    await store.close()


async def test_a_removal_is_not_believed_before_it_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await QdrantPassageStore.open(folder)
    with _disk_full(monkeypatch), pytest.raises(PassageStoreUnavailable):
        await store.delete_collection("a", "notes")
    assert await store.passages("a", "notes", "job-1") == PASSAGES[:3]
    await store.delete_collection("a", "notes")
    assert await store.collections("a") == ()
    await store.close()
    store = await QdrantPassageStore.open(folder)
    assert await store.collections("a") == ()
    await store.close()


def test_an_alias_is_not_switched_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EdgeEngine(tmp_path)
    _create(engine, "a-1")
    _create(engine, "a-2")
    _point_alias(engine, "a", "a-1")
    with _disk_full(monkeypatch), pytest.raises(OSError, match="No space"):
        _point_alias(engine, "a", "a-2")
    assert engine._catalogue.aliases == {"a": "a-1"}
    engine.close()
    engine = EdgeEngine(tmp_path)
    assert engine._catalogue.aliases == {"a": "a-1"}
    _point_alias(engine, "a", "a-2")
    engine.close()
    engine = EdgeEngine(tmp_path)
    assert engine._catalogue.aliases == {"a": "a-2"}
    engine.close()


def test_a_file_and_its_name_are_on_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, synced, sync = EdgeEngine(folder), [], os.fsync
    name = engine.get_collections().collections[0].name

    def record(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    engine._catalogue.point_alias("another", name)
    engine.close()
    assert synced == [False, True, False, True]  # the shard's record, then the catalogue


def test_a_write_that_fails_leaves_no_file_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EdgeEngine(folder)
    before = (folder / "collections.json").read_text()

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space"):
            engine._catalogue.point_alias("another", engine.get_collections().collections[0].name)
    assert (folder / "collections.json").read_text() == before
    assert list(folder.rglob("*.json.new")) == []
    engine.close()


class _Killed(BaseException):
    """The process ends here."""


def _killed(*_: object, **__: object) -> None:
    raise _Killed


def _create(engine: EdgeEngine, name: str) -> None:
    engine.create_collection(
        collection_name=name, vectors_config={}, sparse_vectors_config={SPARSE: _WORDS}, metadata={"called": name}
    )


def _point_alias(engine: EdgeEngine, alias: str, name: str) -> None:
    change = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=alias))
    engine.update_collection_aliases(change_aliases_operations=[change])


def _records(folder: Path) -> list[Path]:
    return list(folder.rglob(RECORD))


@contextmanager
def _disk_full(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no catalogue be written."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pipelines.stores.qdrant.edge_catalogue.write_json", fail)
        yield
