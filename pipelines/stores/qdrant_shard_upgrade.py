"""A shard that was made with a write-ahead log becomes one without, once, when its folder is opened.

The log kept the words of what was erased; that a shard has one cannot be changed. So its points are copied to a new
one beside it, under a name with a dot, and the two change places. Whoever is killed finds at the next start either the
old shard whole, and copies again, or the new one whole, and finishes the exchange.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from qdrant_client import models

from pipelines.stores.disk_room import DiskRoom, allocated_bytes
from pipelines.stores.durable_file import sync_folder
from pipelines.stores.qdrant_edge_records import to_config
from pipelines.stores.qdrant_shard_record import RECORD

_LOG = "wal"
_PAGE = 256


def finish_exchanges(shards: Path) -> None:
    """Do what an exchange of shards that broke off left to do, before anything else looks at the folder."""
    for old in shards.glob(".old-*"):
        folder = shards / old.name.removeprefix(".old-")
        if not folder.exists():
            (_new(folder) if _new(folder).exists() else old).rename(folder)
            sync_folder(shards)
        shutil.rmtree(old, ignore_errors=True)
    for new in shards.glob(".new-*"):
        shutil.rmtree(new, ignore_errors=True)


def upgrade_shard(folder: Path, room: DiskRoom) -> None:
    """Copy a shard that has a log, and put the copy in its place; a no-op for all others.

    Raises PassageStoreUnavailable where the disk has no room for the copy, and what the engine raises.
    """
    if not (folder / _LOG).exists():
        return
    room.require(allocated_bytes(folder))
    new, old = _new(folder), folder.with_name(f".old-{folder.name}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    _copy(folder, new)
    if (folder / RECORD).exists():
        shutil.copyfile(folder / RECORD, new / RECORD)
    folder.rename(old)
    new.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old)


def _new(folder: Path) -> Path:
    return folder.with_name(f".new-{folder.name}")


def _copy(source_folder: Path, target_folder: Path) -> None:
    source = edge.EdgeShard.load(str(source_folder))
    try:
        target = edge.EdgeShard.create(str(target_folder), _config(source_folder))
        try:
            for field, index in source.info().payload_schema.items():
                target.update(edge.UpdateOperation.create_field_index(field, index.data_type))
            _copy_points(source, target)
            target.flush()
        finally:
            target.close()
    finally:
        source.close()


def _copy_points(source: edge.EdgeShard, target: edge.EdgeShard) -> None:
    offset: Any = None
    while True:
        request = edge.ScrollRequest(offset=offset, limit=_PAGE, with_payload=True, with_vector=True)
        records, offset = source.scroll(request)
        points = [edge.Point(record.id, record.vector or {}, record.payload) for record in records]
        if points:
            target.update(edge.UpdateOperation.upsert_points(points))
        if offset is None:
            return


def _config(folder: Path) -> edge.EdgeConfig:
    """Return what a shard of the same vectors is made with today."""
    known = json.loads((folder / "edge_config.json").read_text())
    return to_config(
        {
            name: models.VectorParams(size=vector["size"], distance=models.Distance.COSINE)
            for name, vector in (known.get("vectors") or {}).items()
        },
        {
            name: models.SparseVectorParams(
                modifier=models.Modifier.IDF if vector.get("modifier") == "idf" else models.Modifier.NONE
            )
            for name, vector in (known.get("sparse_vectors") or {}).items()
        },
    )
