"""Passages in Qdrant: a folder on this machine, or a server.

A tenant's collection is an alias of the physical collection that holds one embedder's vectors. Calls go to the
physical one, whose model is known, so that vectors of two models never meet even while the alias is switched.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from qdrant_client import models

from pipelines.domain.model import ModelInfo
from pipelines.domain.passage import CollectionInfo, Embedding, Hit, Passage, SearchFilters, SearchMode
from pipelines.errors import EmbedderMismatch, NotFound, PassageStoreUnavailable
from pipelines.stores.collection_names import physical_name
from pipelines.stores.qdrant_collections import PhysicalCollection, QdrantCollections, not_found
from pipelines.stores.qdrant_connection import CollectionMissing, Connection, ServerConnection
from pipelines.stores.qdrant_embedded import EmbeddedConnection
from pipelines.stores.qdrant_records import job_filter, to_passage, to_point
from pipelines.stores.qdrant_replacement import QdrantReplacement
from pipelines.stores.qdrant_search import rank_points, stage_requests

UPSERT_BATCH = 64
"""Points a request: bounds memory, and lets searches in between."""

_PAGE = 500
_SEARCH_TIMEOUT_S = 5


class QdrantPassageStore:
    """Implements PassageStore and CollectionReplacer over Qdrant, in this process and against a server alike."""

    def __init__(self, connection: Connection) -> None:
        """Take the connection, which ``close`` closes."""
        self._connection = connection
        self._collections = QdrantCollections(connection)
        self._replacement = QdrantReplacement(connection, self._collections)

    @classmethod
    async def open(
        cls, location: str | Path, *, api_key: str | None = None, timeout_s: int = 30
    ) -> "QdrantPassageStore":
        """Use a server (``http://…``, ``https://…``), or a folder.

        A folder is loaded and locked now: raises PassageStoreUnavailable where another process has it. A server is
        first asked by the first call, since it may come up later.
        """
        if str(location).startswith(("http://", "https://")):
            return cls(ServerConnection(str(location), api_key=api_key, timeout_s=timeout_s))
        connection = EmbeddedConnection(location)
        try:
            await connection.call("get_aliases")
        except PassageStoreUnavailable:
            await connection.close()
            raise
        return cls(connection)

    async def close(self) -> None:
        """Release the folder's lock or the sockets."""
        await self._connection.close()

    async def ensure_collection(self, tenant: str, collection: str, embedder: ModelInfo) -> None:
        """Create the collection where it does not exist, with the IDF modifier if ``details["sparse_idf"]``."""
        await self._collections.ensure(tenant, collection, embedder)

    async def upsert(
        self, tenant: str, collection: str, passages: Sequence[Passage], embeddings: Sequence[Embedding]
    ) -> None:
        """Write in batches of ``UPSERT_BATCH``, each durable before the next begins.

        Raises EmbedderMismatch for vectors of another length, and where the collection changed its model since
        ``ensure_collection``: vectors made for the one must not go into the other.
        """
        expected = self._collections.known(tenant, collection)
        points = [to_point(*pair) for pair in zip(passages, embeddings, strict=True)]

        async def write(target: PhysicalCollection) -> None:
            _require_same_model(expected or target, target)
            _require_size(embeddings, target.vector_size)
            await self._write(target.name, points)

        await self._collections.on_physical(tenant, collection, write)

    async def search(
        self,
        tenant: str,
        collection: str,
        query: Embedding,
        *,
        mode: SearchMode,
        top_k: int,
        filters: SearchFilters,
        embedder: ModelInfo,
    ) -> tuple[Hit, ...]:
        """Ask for all stages in one request; in hybrid mode the score is 1.0 for what both put first."""
        requests = stage_requests(query, mode=mode, top_k=top_k, filters=filters)

        async def ask(target: PhysicalCollection) -> list[models.QueryResponse]:
            target.require(embedder)
            answers: list[models.QueryResponse] = await self._connection.call(
                "query_batch_points",
                collection_name=target.name,
                requests=list(requests.values()),
                timeout=_SEARCH_TIMEOUT_S,
            )
            return answers

        answers = await self._collections.on_physical(tenant, collection, ask)
        stages = {stage: answer.points for stage, answer in zip(requests, answers, strict=True)}
        return rank_points(stages, query, collection=collection, mode=mode, top_k=top_k)

    async def passages(
        self, tenant: str, collection: str, job_id: str, *, positions: Sequence[int] | None = None
    ) -> tuple[Passage, ...]:
        """Scroll through one job's passages."""
        places = None
        if positions is not None:
            places = models.FieldCondition(key="position", match=models.MatchAny(any=list(positions)))
        condition = job_filter(job_id, places)

        async def read(target: PhysicalCollection) -> list[Any]:
            return await self._scroll(target.name, condition)

        try:
            records = await self._collections.on_physical(tenant, collection, read)
        except NotFound:
            return ()
        return tuple(sorted((to_passage(record.payload) for record in records), key=lambda each: each.position))

    async def delete_job(self, tenant: str, collection: str, job_id: str, *, from_position: int = 0) -> None:
        """Delete by filter, from a replacement under way as well: what is erased must not come back with it."""
        places = models.FieldCondition(key="position", range=models.Range(gte=from_position))
        selector = models.FilterSelector(filter=job_filter(job_id, places))
        for name in await self._collections.physical_names(tenant, collection):
            with suppress(CollectionMissing):
                await self._connection.call("delete", collection_name=name, points_selector=selector, wait=True)

    async def collections(self, tenant: str) -> tuple[CollectionInfo, ...]:
        """List what stands under this tenant's prefix."""
        return await self._collections.describe_all(tenant)

    async def delete_collection(self, tenant: str, collection: str) -> None:
        """Remove a collection with its passages."""
        await self._collections.remove(tenant, collection)

    async def begin_replacement(self, tenant: str, collection: str, embedder: ModelInfo) -> bool:
        """Create the physical collection of the new embedder beside the one that is searched."""
        return await self._replacement.begin(tenant, collection, embedder)

    async def scan(
        self, tenant: str, collection: str, *, cursor: str | None, limit: int
    ) -> tuple[tuple[Passage, ...], str | None]:
        """Scroll through the whole collection."""
        return await self._replacement.scan(tenant, collection, cursor=cursor, limit=limit)

    async def fill_replacement(
        self,
        tenant: str,
        collection: str,
        embedder: ModelInfo,
        passages: Sequence[Passage],
        embeddings: Sequence[Embedding],
    ) -> None:
        """Write into the physical collection of the new embedder."""
        _require_size(embeddings, int(str(embedder.details["vector_size"])))
        points = [to_point(*pair) for pair in zip(passages, embeddings, strict=True)]
        try:
            await self._write(physical_name(tenant, collection, embedder), points)
        except CollectionMissing as error:
            raise not_found(collection) from error

    async def complete_replacement(
        self, tenant: str, collection: str, embedder: ModelInfo, *, limit: int
    ) -> tuple[Passage, ...]:
        """Compare both physical collections, and switch the alias where nothing is lacking."""
        return await self._replacement.complete(tenant, collection, embedder, limit=limit)

    async def _write(self, name: str, points: Sequence[models.PointStruct]) -> None:
        for start in range(0, len(points), UPSERT_BATCH):
            batch = list(points[start : start + UPSERT_BATCH])
            await self._connection.call("upsert", collection_name=name, points=batch, wait=True)

    async def _scroll(self, name: str, condition: models.Filter) -> list[Any]:
        records: list[Any] = []
        offset: Any = None
        while True:
            page, offset = await self._connection.call(
                "scroll", collection_name=name, scroll_filter=condition, limit=_PAGE, offset=offset
            )
            records += page
            if offset is None:
                return records


def _require_size(embeddings: Sequence[Embedding], vector_size: int) -> None:
    if any(len(embedding.dense) != vector_size for embedding in embeddings):
        raise EmbedderMismatch(f"the collection holds vectors of {vector_size} numbers", "collection")


def _require_same_model(expected: PhysicalCollection, target: PhysicalCollection) -> None:
    if (expected.embedder, expected.embedder_hash) != (target.embedder, target.embedder_hash):
        raise EmbedderMismatch(f"the collection now holds vectors of {target.embedder}", "collection")
