"""Erased words are in no file of the embedded store's folder, whatever wrote them there and whoever was killed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.domain.passage import Passage
from pipelines.stores.qdrant.edge_connection import EdgeConnection
from pipelines.stores.qdrant.edge_engine import EdgeEngine
from pipelines.stores.qdrant.edge_shards import EdgeShards
from pipelines.stores.qdrant.passages import QdrantPassageStore
from tests.contracts.test_passage_store import PASSAGES, fill

SECRET = "zebrasecret"
SPOKEN = tuple(replace(each, text=f"{each.text} {SECRET}") for each in PASSAGES[:3])
OTHERS = PASSAGES[3:]


def files_with(folder: Path, word: str) -> list[Path]:
    return [found for found in folder.rglob("*") if found.is_file() and word.encode() in found.read_bytes()]


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("shards/*/segments/*"))


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[EdgeConnection]:
    """A folder that is freed of deleted words as soon as they are deleted."""
    connection = EdgeConnection(tmp_path, pause_s=0.0)
    yield connection
    await connection.close()


async def erase(connection: EdgeConnection, *, from_position: int = 0) -> None:
    """Delete a job's passages, and wait until the files are freed of their words."""
    await QdrantPassageStore(connection).delete_job("a", "notes", "job-1", from_position=from_position)
    if connection.cleaning is not None:
        await connection.cleaning


@pytest.mark.parametrize("others", [OTHERS, ()], ids=["among others", "the only one"])
async def test_the_words_of_an_erased_job_are_in_no_file(
    tmp_path: Path, connection: EdgeConnection, others: tuple[Passage, ...]
) -> None:
    store = QdrantPassageStore(connection)
    await fill(store, *SPOKEN, *others)
    assert files_with(tmp_path, SECRET)
    await erase(connection)
    assert files_with(tmp_path, SECRET) == []
    assert await store.passages("a", "notes", "job-2") == others
    await store.close()
    assert files_with(tmp_path, SECRET) == []


async def test_words_that_were_overwritten_go_with_the_job(tmp_path: Path, connection: EdgeConnection) -> None:
    store = QdrantPassageStore(connection)
    await fill(store, *SPOKEN, *OTHERS)
    await fill(store, *PASSAGES)
    await erase(connection)
    assert files_with(tmp_path, SECRET) == []


async def test_deletions_that_follow_each_other_are_cleaned_up_after_once(
    tmp_path: Path, connection: EdgeConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[EdgeEngine] = []
    clean = EdgeEngine.clean

    def counted(engine: EdgeEngine) -> None:
        cleaned.append(engine)
        clean(engine)

    monkeypatch.setattr(EdgeEngine, "clean", counted)
    store = QdrantPassageStore(connection)
    await fill(store, *SPOKEN, *OTHERS)
    await asyncio.gather(*(store.delete_job("a", "notes", "job-1", from_position=place) for place in (2, 1, 0)))
    assert connection.cleaning is not None
    await connection.cleaning
    assert files_with(tmp_path, SECRET) == []
    assert len(cleaned) < 3


async def test_a_collection_is_cleaned_before_its_folder_is_given_back(tmp_path: Path) -> None:
    store = QdrantPassageStore(EdgeConnection(tmp_path, pause_s=3_600.0))
    await fill(store, *SPOKEN, *OTHERS)
    await store.delete_job("a", "notes", "job-1")
    assert files_with(tmp_path, SECRET)
    await store.close()
    assert files_with(tmp_path, SECRET) == []


async def test_nothing_to_delete_writes_nothing_anew(tmp_path: Path, connection: EdgeConnection) -> None:
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
        patched.setattr(EdgeShards, "_clean", lambda *_: None)
        await store.delete_job("a", "notes", "job-1")
        await store.close()
    assert files_with(tmp_path, SECRET)
    store = await QdrantPassageStore.open(tmp_path)
    assert files_with(tmp_path, SECRET) == []
    assert await store.passages("a", "notes", "job-2") == OTHERS
    await store.close()
