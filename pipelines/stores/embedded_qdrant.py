"""Qdrant's engine (Qdrant Edge) under the names of qdrant-client's calls: one shard a collection, in a folder."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from filelock import FileLock, Timeout
from qdrant_client import models
from qdrant_client.http.models import QueryResponse

from pipelines.errors import PassageStoreUnavailable
from pipelines.stores.qdrant_catalogue import QdrantCatalogue
from pipelines.stores.qdrant_edge_records import (
    to_config,
    to_edge_filter,
    to_points,
    to_query,
    to_record,
    to_schema,
    to_scored_point,
)

_LOCK = "owner.lock"


@dataclass(frozen=True, slots=True)
class _Config:
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CollectionDescription:
    """The part of qdrant-client's CollectionInfo that can be known here."""

    config: _Config


class EmbeddedQdrant:
    """The calls of qdrant-client that our store makes, by the same names, for one thread.

    What is written is in the shard's log when a call returns, and on the disk. Every call raises CollectionMissing for
    a collection that is not there.
    """

    def __init__(self, folder: Path) -> None:
        """Lock the folder and load what it holds. Raises PassageStoreUnavailable where another process has it."""
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / _LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise PassageStoreUnavailable("the vector store's folder belongs to another process") from None
        try:
            self._shards_folder = folder / "shards"
            self._shards_folder.mkdir(exist_ok=True)
            self._catalogue = QdrantCatalogue(folder)
            self._shards: dict[str, edge.EdgeShard] = {}
            self._sweep()
            for name in self._catalogue.names:
                self._shards[name] = edge.EdgeShard.load(str(self._shards_folder / name))
                self._shards[name].optimize()  # gives back the room of what was deleted; quick, as there is no graph
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give back the folder."""
        for shard in self._shards.values():
            shard.close()
        self._shards = {}
        self._lock.release()

    def get_aliases(self) -> models.CollectionsAliasesResponse:
        """List aliases."""
        found = self._catalogue.aliases.items()
        return models.CollectionsAliasesResponse(
            aliases=[models.AliasDescription(alias_name=alias, collection_name=name) for alias, name in found]
        )

    def update_collection_aliases(self, *, change_aliases_operations: Sequence[models.CreateAliasOperation]) -> None:
        """Point aliases at collections."""
        for operation in change_aliases_operations:
            self._catalogue.point_alias(operation.create_alias.alias_name, operation.create_alias.collection_name)

    def get_collections(self) -> models.CollectionsResponse:
        """List collections."""
        return models.CollectionsResponse(
            collections=[models.CollectionDescription(name=name) for name in self._catalogue.names]
        )

    def get_collection(self, *, collection_name: str) -> CollectionDescription:
        """Say what is known of a collection, or of the one behind an alias."""
        return CollectionDescription(_Config(self._catalogue.metadata(collection_name)))

    def create_collection(
        self,
        *,
        collection_name: str,
        vectors_config: Mapping[str, models.VectorParams],
        sparse_vectors_config: Mapping[str, models.SparseVectorParams],
        metadata: Mapping[str, Any],
    ) -> None:
        """Make a collection. Raises CollectionExists."""
        self._catalogue.require_new(collection_name)
        folder = self._shards_folder / collection_name
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed
        folder.mkdir()
        shard = edge.EdgeShard.create(str(folder), to_config(vectors_config, sparse_vectors_config))
        shard.flush()
        self._catalogue.add(collection_name, metadata)
        self._shards[collection_name] = shard

    def delete_collection(self, *, collection_name: str) -> None:
        """Remove a collection and its aliases; as a server, say nothing of one that is gone."""
        if collection_name not in self._shards:
            return
        self._catalogue.remove(collection_name)
        self._shards.pop(collection_name).close()
        shutil.rmtree(self._shards_folder / collection_name)

    def create_payload_index(
        self, *, collection_name: str, field_name: str, field_schema: models.PayloadSchemaType, wait: bool
    ) -> None:
        """Index a field; a no-op where it is."""
        operation = edge.UpdateOperation.create_field_index(field_name, to_schema(field_schema))
        self._shard(collection_name).update(operation)

    def upsert(self, *, collection_name: str, points: Sequence[models.PointStruct], wait: bool) -> None:
        """Write points under their ids."""
        self._update(collection_name, edge.UpdateOperation.upsert_points(to_points(points)))

    def delete(
        self, *, collection_name: str, points_selector: models.FilterSelector | models.PointIdsList, wait: bool
    ) -> None:
        """Delete by condition or by id."""
        if isinstance(points_selector, models.PointIdsList):
            self._update(collection_name, edge.UpdateOperation.delete_points(list(points_selector.points)))
            return
        condition = to_edge_filter(points_selector.filter)
        assert condition is not None, "a deletion names what to delete"
        self._update(collection_name, edge.UpdateOperation.delete_points_by_filter(condition))

    def count(self, *, collection_name: str, exact: bool) -> models.CountResult:
        """Count points."""
        return models.CountResult(count=self._shard(collection_name).count(edge.CountRequest(exact=exact)))

    def facet(self, *, collection_name: str, key: str, limit: int) -> models.FacetResponse:
        """Count the values of a field."""
        answer = self._shard(collection_name).facet(edge.FacetRequest(key, limit=limit))
        return models.FacetResponse(
            hits=[models.FacetValueHit(value=hit.value, count=hit.count) for hit in answer.hits]
        )

    def scroll(
        self,
        *,
        collection_name: str,
        scroll_filter: models.Filter | None = None,
        limit: int,
        offset: str | None = None,
    ) -> tuple[list[models.Record], str | None]:
        """Return points in order of id, and where to go on."""
        request = edge.ScrollRequest(
            offset=offset, limit=limit, filter=to_edge_filter(scroll_filter), with_payload=True, with_vector=False
        )
        records, following = self._shard(collection_name).scroll(request)
        return [to_record(record) for record in records], None if following is None else str(following)

    def query_batch_points(
        self, *, collection_name: str, requests: Sequence[models.QueryRequest], timeout: int | None = None
    ) -> list[QueryResponse]:
        """Search, once for each request."""
        batch = edge.QueryBatchRequest([to_query(request) for request in requests])
        answers = self._shard(collection_name).query_batch(batch)
        return [QueryResponse(points=[to_scored_point(point) for point in points]) for points in answers]

    def _shard(self, name: str) -> edge.EdgeShard:
        return self._shards[self._catalogue.resolve(name)]

    def _update(self, name: str, operation: edge.UpdateOperation) -> None:
        shard = self._shard(name)
        shard.update(operation)
        shard.flush()

    def _sweep(self) -> None:
        """Remove shards that the catalogue does not name."""
        for folder in self._shards_folder.iterdir():
            if folder.name not in self._catalogue.names:
                with suppress(OSError):
                    shutil.rmtree(folder)
