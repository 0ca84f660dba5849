"""Erased words are in no file of the embedded store's folder, whatever wrote them there and whoever was killed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge

from pipelines.domain.passage import Passage
from pipelines.fakes.models import FakeEmbedder
from pipelines.stores import qdrant_shard_upgrade
from pipelines.stores.collection_names import alias_name, physical_name
from pipelines.stores.embedded_qdrant import EmbeddedQdrant
from pipelines.stores.qdrant_edge_records import to_points, to_schema
from pipelines.stores.qdrant_embedded import EmbeddedConnection
from pipelines.stores.qdrant_passages import QdrantPassageStore
from pipelines.stores.qdrant_records import DENSE, PAYLOAD_INDEXES, SPARSE, to_point
from pipelines.stores.qdrant_shards import QdrantShards
from tests.contracts.test_passage_store import PASSAGES, fill, search

SECRET = "zebrasecret"
SPOKEN = tuple(replace(each, text=f"{each.text} {SECRET}") for each in PASSAGES[:3])
OTHERS = PASSAGES[3:]


def files_with(folder: Path, word: str) -> list[Path]:
    return [found for found in folder.rglob("*") if found.is_file() and word.encode() in found.read_bytes()]


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("shards/*/segments/*"))


def _left_over(folder: Path) -> list[Path]:
    return [*folder.glob("shards/*/wal"), *folder.glob("shards/.*")]


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[EmbeddedConnection]:
    """A folder that is freed of deleted words as soon as they are deleted."""
    connection = EmbeddedConnection(tmp_path, pause_s=0.0)
    yield connection
    await connection.close()


async def erase(connection: EmbeddedConnection, *, from_position: int = 0) -> None:
    """Delete a job's passages, and wait until the files are freed of their words."""
    await QdrantPassageStore(connection).delete_job("a", "notes", "job-1", from_position=from_position)
    if connection.cleaning is not None:
        await connection.cleaning


@pytest.mark.parametrize("others", [OTHERS, ()], ids=["among others", "the only one"])
async def test_the_words_of_an_erased_job_are_in_no_file(
    tmp_path: Path, connection: EmbeddedConnection, others: tuple[Passage, ...]
) -> None:
    store = QdrantPassageStore(connection)
    await fill(store, *SPOKEN, *others)
    assert files_with(tmp_path, SECRET)
    await erase(connection)
    assert files_with(tmp_path, SECRET) == []
    assert await store.passages("a", "notes", "job-2") == others
    await store.close()
    assert files_with(tmp_path, SECRET) == []


async def test_words_that_were_overwritten_go_with_the_job(tmp_path: Path, connection: EmbeddedConnection) -> None:
    store = QdrantPassageStore(connection)
    await fill(store, *SPOKEN, *OTHERS)
    await fill(store, *PASSAGES)
    await erase(connection)
    assert files_with(tmp_path, SECRET) == []


async def test_deletions_that_follow_each_other_are_cleaned_up_after_once(
    tmp_path: Path, connection: EmbeddedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[EmbeddedQdrant] = []
    clean = EmbeddedQdrant.clean

    def counted(engine: EmbeddedQdrant) -> None:
        cleaned.append(engine)
        clean(engine)

    monkeypatch.setattr(EmbeddedQdrant, "clean", counted)
    store = QdrantPassageStore(connection)
    await fill(store, *SPOKEN, *OTHERS)
    await asyncio.gather(*(store.delete_job("a", "notes", "job-1", from_position=place) for place in (2, 1, 0)))
    assert connection.cleaning is not None
    await connection.cleaning
    assert files_with(tmp_path, SECRET) == []
    assert len(cleaned) < 3


async def test_a_collection_is_cleaned_before_its_folder_is_given_back(tmp_path: Path) -> None:
    store = QdrantPassageStore(EmbeddedConnection(tmp_path, pause_s=3_600.0))
    await fill(store, *SPOKEN, *OTHERS)
    await store.delete_job("a", "notes", "job-1")
    assert files_with(tmp_path, SECRET)
    await store.close()
    assert files_with(tmp_path, SECRET) == []


async def test_nothing_to_delete_writes_nothing_anew(tmp_path: Path, connection: EmbeddedConnection) -> None:
    await fill(QdrantPassageStore(connection), *PASSAGES)
    before = _segments(tmp_path)
    await erase(connection, from_position=3)
    assert connection.cleaning is None
    assert _segments(tmp_path) == before
    await erase(connection, from_position=2)
    assert _segments(tmp_path) != before


async def test_an_erasure_that_broke_off_is_finished_when_the_folder_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await QdrantPassageStore.open(tmp_path)
    await fill(store, *SPOKEN, *OTHERS)
    with monkeypatch.context() as patched:
        patched.setattr(QdrantShards, "_clean", lambda *_: None)
        await store.delete_job("a", "notes", "job-1")
        await store.close()
    assert files_with(tmp_path, SECRET)
    store = await QdrantPassageStore.open(tmp_path)
    assert files_with(tmp_path, SECRET) == []
    assert await store.passages("a", "notes", "job-2") == OTHERS
    await store.close()


async def test_a_shard_with_a_log_becomes_one_without(tmp_path: Path) -> None:
    await _write_with_log(tmp_path)
    store = await QdrantPassageStore.open(tmp_path)
    assert _left_over(tmp_path) == []
    assert await store.passages("a", "notes", "job-1") == SPOKEN
    assert (await search(store, "when is the exam"))[0].passage == SPOKEN[0]
    await store.delete_job("a", "notes", "job-1")
    await store.close()
    assert files_with(tmp_path, SECRET) == []
    store = await QdrantPassageStore.open(tmp_path)
    assert await store.passages("a", "notes", "job-2") == OTHERS
    await store.close()


async def test_words_erased_before_the_log_was_given_up_go_with_it(tmp_path: Path) -> None:
    await _write_with_log(tmp_path, erased=True)
    assert files_with(tmp_path, SECRET)
    EmbeddedQdrant(tmp_path).close()
    assert files_with(tmp_path, SECRET) == []


def _die_before(name: str, times: int) -> Callable[..., Any]:
    """Return the method of Path, which ends the process the n-th time it is called for a shard's folder."""
    real, calls = getattr(Path, name), 0

    def method(self: Path, *arguments: Any) -> Any:
        nonlocal calls
        calls += self.parent.name == "shards"
        if calls == times:
            raise _Killed
        return real(self, *arguments)

    return method


@pytest.mark.parametrize("step", ["copy", "first rename", "second rename", "removal"])
async def test_giving_up_the_log_survives_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    await _write_with_log(tmp_path)
    with monkeypatch.context() as patched:
        if step == "copy":
            patched.setattr(qdrant_shard_upgrade, "_copy_points", _die)
        elif step == "removal":
            patched.setattr(qdrant_shard_upgrade, "sync_folder", _die)
        else:
            patched.setattr(Path, "rename", _die_before("rename", 1 if step == "first rename" else 2))
        with pytest.raises(_Killed):
            EmbeddedQdrant(tmp_path)
    store = await QdrantPassageStore.open(tmp_path)
    assert await store.passages("a", "notes", "job-1") == SPOKEN
    assert await store.passages("a", "notes", "job-2") == OTHERS
    assert _left_over(tmp_path) == []
    await store.close()


class _Killed(BaseException):
    """The process ends here."""


def _die(*_: Any) -> None:
    raise _Killed


async def _write_with_log(folder: Path, *, erased: bool = False) -> None:
    """Write what the version before this one did: a shard with a log, and a catalogue of which no shard knows."""
    embedder = FakeEmbedder()
    info = await embedder.info()
    name = physical_name("a", "notes", info)
    (folder / "shards" / name).mkdir(parents=True)
    shard = edge.EdgeShard.create(
        str(folder / "shards" / name),
        edge.EdgeConfig(
            vectors={DENSE: edge.EdgeVectorParams(size=embedder.vector_size, distance=edge.Distance.Cosine)},
            sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=0),
            max_search_threads=1,
        ),
    )
    for field, kind in PAYLOAD_INDEXES.items():
        shard.update(edge.UpdateOperation.create_field_index(field, to_schema(kind)))
    passages = (*SPOKEN, *OTHERS)
    vectors = await embedder.embed_passages([each.text for each in passages])
    points = [to_point(*pair) for pair in zip(passages, vectors, strict=True)]
    shard.update(edge.UpdateOperation.upsert_points(to_points(points)))
    if erased:
        shard.update(edge.UpdateOperation.delete_points([each.passage_id for each in SPOKEN]))
    shard.flush()
    shard.close()
    metadata = {
        "physical": name,
        "tenant": "a",
        "collection": "notes",
        "embedder": info.name,
        "embedder_hash": info.checkpoint_hash or "",
        "vector_size": embedder.vector_size,
    }
    catalogue = {"collections": {name: metadata}, "aliases": {alias_name("a", "notes"): name}}
    (folder / "collections.json").write_text(json.dumps(catalogue))
