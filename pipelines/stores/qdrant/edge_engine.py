"""Qdrant's engine (Qdrant Edge) under the names of qdrant-client's calls: one shard a collection, in a folder."""

import errno
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from filelock import FileLock, Timeout
from qdrant_client import models
from qdrant_client.http.models import QueryResponse

from pipelines.errors import PassageStoreUnavailable
from pipelines.stores.qdrant.edge_catalogue import EdgeCatalogue
from pipelines.stores.qdrant.edge_records import (
    to_config,
    to_edge_filter,
    to_id_filter,
    to_points,
    to_query,
    to_record,
    to_schema,
    to_scored_point,
)
from pipelines.stores.qdrant.edge_shards import DiskRoom, EdgeShards, free_bytes

logger = logging.getLogger(__name__)

_LOCK = "owner.lock"
_FORMER = ("meta.json", "shards/*/wal")
"""Of qdrant-client's local mode, and of shards with a log, which would keep the words of what was erased."""
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, slots=True)
class _Config:
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CollectionDescription:
    """The part of qdrant-client's CollectionInfo that can be known here."""

    config: _Config


class EdgeEngine:
    """The calls of qdrant-client that our store makes, by the same names, for one thread.

    What is written is on the disk when a call returns. Every call raises CollectionMissing for a collection that is not
    there, and CollectionDamaged for one whose files are.
    """

    def __init__(self, folder: Path, *, measure: Callable[[Path], int] = free_bytes) -> None:
        """Lock the folder and load what it holds; ``measure`` says how many bytes are free.

        Raises PassageStoreUnavailable where another process has the folder, it cannot be written, its format is not
        known, or its catalogue is lost. A collection whose files are damaged is unavailable for itself.
        """
        self._lock = FileLock(folder / _LOCK)
        with _writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise PassageStoreUnavailable("the vector store's folder belongs to another process") from None
            try:
                shards = folder / "shards"
                shards.mkdir(exist_ok=True)
                _require_known_format(folder)
                self._catalogue = EdgeCatalogue(folder, shards)
                self._shards = EdgeShards(shards, DiskRoom(folder, measure))
            except BaseException:
                self._lock.release()
                raise
        try:
            for name in self._catalogue.names:
                self._shards.load(name)
            self._shards.clean()
        except BaseException:
            self.close()
            raise

    @property
    def unclean(self) -> bool:
        """Some files hold words that were deleted: ``clean`` is due."""
        return self._shards.unclean

    def clean(self) -> None:
        """Free the files of what was deleted; seconds in a large collection."""
        self._shards.clean()

    def close(self) -> None:
        """Free the files of what was deleted, and give back the folder."""
        try:
            self._shards.clean()
            self._shards.close()
        finally:
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
        try:
            shard = self._shards.create(collection_name, to_config(vectors_config, sparse_vectors_config))
            try:
                self._catalogue.add(collection_name, metadata)
            except BaseException:
                shard.close()
                raise
        except BaseException:
            self._shards.discard(collection_name)
            raise
        self._shards.adopt(collection_name, shard)

    def delete_collection(self, *, collection_name: str) -> None:
        """Remove a collection and its aliases; as a server, say nothing of one that is gone."""
        if collection_name not in self._catalogue.names:
            return
        self._catalogue.remove(collection_name)
        self._shards.remove(collection_name)

    def create_payload_index(
        self, *, collection_name: str, field_name: str, field_schema: models.PayloadSchemaType, wait: bool
    ) -> None:
        """Index a field; a no-op where it is."""
        operation = edge.UpdateOperation.create_field_index(field_name, to_schema(field_schema))
        self._shards.write(self._catalogue.resolve(collection_name), operation)

    def upsert(self, *, collection_name: str, points: Sequence[models.PointStruct], wait: bool) -> None:
        """Write points under their ids."""
        operation = edge.UpdateOperation.upsert_points(to_points(points))
        self._shards.write(self._catalogue.resolve(collection_name), operation)

    def delete(
        self, *, collection_name: str, points_selector: models.FilterSelector | models.PointIdsList, wait: bool
    ) -> None:
        """Delete by condition or by id; the words leave the files with ``clean``."""
        if isinstance(points_selector, models.PointIdsList):
            condition: edge.Filter | None = to_id_filter(points_selector.points)
        else:
            condition = to_edge_filter(points_selector.filter)
        assert condition is not None, "a deletion names what to delete"
        self._shards.erase(self._catalogue.resolve(collection_name), condition)

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
        return self._shards.get(self._catalogue.resolve(name))


def _require_known_format(folder: Path) -> None:
    if any(found for pattern in _FORMER for found in folder.glob(pattern)):
        logger.error("the vector store's folder %s is in a format that is not known any more", folder)
        raise PassageStoreUnavailable(
            f"the vector store's folder {folder.name!r} is in a format that is not known any more: "
            "move it away, and index the recordings again"
        )


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Say which folder it is that cannot be written, without its path, which is for the log."""
    try:
        yield
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        logger.error("the vector store's folder %s cannot be written: %s", folder, error)
        raise PassageStoreUnavailable(
            f"the vector store's folder {folder.name!r} cannot be written: let the user of the server write there"
        ) from error
