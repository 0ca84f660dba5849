"""A folder that qdrant-client's local mode wrote becomes one of Qdrant Edge's, once, when it is opened."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from qdrant_client import QdrantClient, models

from pipelines.stores.embedded_qdrant import EmbeddedQdrant
from pipelines.stores.qdrant_connection import CollectionExists
from pipelines.stores.qdrant_records import PAYLOAD_INDEXES

_MARK = "meta.json"
_LEFT_BEHIND = (".lock", _MARK)
"""The mark goes last: what broke off is done again, and ids make that harmless."""
_PAGE = 256


def move_from_local_mode(folder: Path, target: EmbeddedQdrant) -> None:
    """Copy collections, points and aliases to ``target``, then remove what local mode had written; usually nothing."""
    if not (folder / _MARK).exists():
        return
    source = QdrantClient(path=str(folder))
    try:
        for found in source.get_collections().collections:
            _copy_collection(source, target, found.name)
        target.update_collection_aliases(
            change_aliases_operations=[
                models.CreateAliasOperation(
                    create_alias=models.CreateAlias(alias_name=item.alias_name, collection_name=item.collection_name)
                )
                for item in source.get_aliases().aliases
            ]
        )
    finally:
        source.close()
    shutil.rmtree(folder / "collection", ignore_errors=True)
    for name in _LEFT_BEHIND:
        (folder / name).unlink(missing_ok=True)


def _copy_collection(source: QdrantClient, target: EmbeddedQdrant, name: str) -> None:
    config = source.get_collection(name).config
    vectors: Any = config.params.vectors
    with suppress(CollectionExists):
        target.create_collection(
            collection_name=name,
            vectors_config=vectors,
            sparse_vectors_config=config.params.sparse_vectors or {},
            metadata=config.metadata or {},
        )
    for field, kind in PAYLOAD_INDEXES.items():
        target.create_payload_index(collection_name=name, field_name=field, field_schema=kind, wait=True)
    offset: Any = None
    while True:
        records, offset = source.scroll(name, limit=_PAGE, offset=offset, with_payload=True, with_vectors=True)
        points = [_to_point(record) for record in records]
        if points:
            target.upsert(collection_name=name, points=points, wait=True)
        if offset is None:
            return


def _to_point(record: models.Record) -> models.PointStruct:
    vector: Any = record.vector
    return models.PointStruct(id=record.id, vector=vector, payload=record.payload)
