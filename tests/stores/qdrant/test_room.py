"""A full disk, a folder that cannot be written, and the memory of a collection."""

import errno
from pathlib import Path

import pytest
import qdrant_edge as edge
from filelock import FileLock
from qdrant_client import models

from pipelines.errors import PassageStoreUnavailable
from pipelines.stores.qdrant.edge_connection import EdgeConnection
from pipelines.stores.qdrant.edge_engine import EdgeEngine
from pipelines.stores.qdrant.edge_records import to_config
from pipelines.stores.qdrant.edge_shards import RESERVE_BYTES
from pipelines.stores.qdrant.passages import QdrantPassageStore
from pipelines.stores.qdrant.records import DENSE
from tests.contracts.test_passage_store import PASSAGES, fill, search


class Disk:
    """Says how much is free."""

    free_bytes = 10 * RESERVE_BYTES

    def __call__(self, folder: Path) -> int:
        return self.free_bytes


async def test_a_full_disk_refuses_to_write_and_answers_searches(tmp_path: Path) -> None:
    disk = Disk()
    store = QdrantPassageStore(EdgeConnection(tmp_path, measure=disk))
    await fill(store, *PASSAGES[:3])
    disk.free_bytes = RESERVE_BYTES - 1
    with pytest.raises(PassageStoreUnavailable, match="disk"):
        await fill(store, *PASSAGES)
    with pytest.raises(PassageStoreUnavailable, match="disk"):
        await fill(store, *PASSAGES, collection="others")
    assert (await search(store, "when is the exam"))[0].passage == PASSAGES[0]
    assert [info.name for info in await store.collections("a")] == ["notes"]
    disk.free_bytes = 10 * RESERVE_BYTES
    await fill(store, *PASSAGES, collection="others")
    await fill(store, *PASSAGES)
    assert await store.passages("a", "notes", "job-2") == PASSAGES[3:]
    await store.close()


async def test_what_cannot_be_erased_for_good_is_not_half_erased(tmp_path: Path) -> None:
    disk = Disk()
    store = QdrantPassageStore(EdgeConnection(tmp_path, measure=disk))
    await fill(store, *PASSAGES)
    disk.free_bytes = RESERVE_BYTES  # not enough for a copy of the shard
    with pytest.raises(PassageStoreUnavailable, match="disk"):
        await store.delete_job("a", "notes", "job-1")
    assert await store.passages("a", "notes", "job-1") == PASSAGES[:3]
    await store.delete_job("a", "notes", "job-9")  # nothing to erase needs no room
    await store.delete_collection("a", "notes")  # nor does this, which makes room
    assert await store.collections("a") == ()
    await store.close()


@pytest.mark.parametrize("reason", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reason: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(reason, "refused")

    folder = tmp_path / "vectors"
    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(PassageStoreUnavailable, match="'vectors' cannot be written") as refused:
        EdgeEngine(folder)
    assert str(tmp_path) not in str(refused.value)
    assert str(folder) in caplog.text


def test_vectors_come_into_memory_as_they_are_read() -> None:
    config = to_config({DENSE: models.VectorParams(size=2, distance=models.Distance.COSINE)}, {})
    assert config.vectors[DENSE].memory == edge.Memory.Cold
