"""Passages in Qdrant: a folder on this machine, or a server.

A tenant's collection is an alias of the physical collection that holds one embedder's vectors. Calls go to the
physical one, whose model is known, so that vectors of two models never meet even while the alias is switched.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from qdrant_client import models

from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import CollectionInfo, Embedding, Hit, Passage, SearchFilters, SearchMode
from pipelines.errors import EmbedderMismatch, NotFound, PassageStoreUnavailable
from pipelines.ports.passages import Replacement, ReplacementState
from pipelines.stores.qdrant.collections import PhysicalCollection, QdrantCollections
from pipelines.stores.qdrant.connection import CollectionMissing, Connection, ServerConnection
from pipelines.stores.qdrant.edge_connection import EdgeConnection
from pipelines.stores.qdrant.records import job_filter, to_passage, to_point
from pipelines.stores.qdrant.search import rank_points, stage_requests
from pipelines.stores.qdrant.shadow_collections import ShadowCollections

UPSERT_BATCH = 64
"""Points a request: bounds memory, and lets searches in between."""

_ATTEMPTS = 3
_PAGE = 500
_SEARCH_TIMEOUT_S = 5


class QdrantPassageStore:
    """Implements PassageStore and CollectionReplacer over Qdrant, in this process and against a server alike."""

    def __init__(self, connection: Connection) -> None:
        """Take the connection, which ``close`` closes."""
        self._connection = connection
        self._collections = QdrantCollections(connection)
        self._replacement = ShadowCollections(connection, self._collections)

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
        connection = EdgeConnection(location)
        try:
            await connection.call("get_aliases")
        except PassageStoreUnavailable:
            await connection.close()
            raise
        return cls(connection)

    async def close(self) -> None:
        """Release the folder's lock or the sockets."""
        await self._connection.close()

    async def ensure_collection(self, tenant: str, collection: str, embedder: EmbedderInfo) -> None:
        """Create the collection where it does not exist, with the IDF modifier if ``embedder.sparse_idf``."""
        await self._collections.ensure(tenant, collection, embedder)

    async def upsert(
        self,
        tenant: str,
        collection: str,
        passages: Sequence[Passage],
        embeddings: Sequence[Embedding],
        *,
        embedder: EmbedderInfo,
    ) -> None:
        """Write in batches of ``UPSERT_BATCH``, each durable before the next begins.

        Where it turns out afterwards that the collection was switched, nobody may have copied what was written into the
        old one: it is written again, or refused.
        """
        points = [to_point(*pair) for pair in zip(passages, embeddings, strict=True)]

        async def write(target: PhysicalCollection) -> PhysicalCollection:
            target.require(embedder)
            _require_size(embeddings, target.vector_size)
            await self._write(target.name, points)
            return target

        for _ in range(_ATTEMPTS):
            written = await self._collections.on_physical(tenant, collection, write)
            if (await self._collections.resolve(tenant, collection)).name == written.name:
                return
        raise PassageStoreUnavailable("the collection is being replaced")

    async def search(
        self,
        tenant: str,
        collection: str,
        query: Embedding,
        *,
        mode: SearchMode,
        top_k: int,
        filters: SearchFilters,
        embedder: EmbedderInfo,
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
        """Delete by filter from all there is, and where something is being copied, once more.

        After the first time no original is left; what was copied from one at that moment goes the second time.
        """
        places = models.FieldCondition(key="position", range=models.Range(gte=from_position))
        selector = models.FilterSelector(filter=job_filter(job_id, places))
        deleted_from: tuple[str, ...] = ()
        for _ in range(2):
            names = await self._collections.physical_names(tenant, collection)
            if names == deleted_from and len(names) <= 1:
                return
            for name in names:
                with suppress(CollectionMissing):
                    await self._connection.call("delete", collection_name=name, points_selector=selector, wait=True)
            deleted_from = names

    async def collections(self, tenant: str) -> tuple[CollectionInfo, ...]:
        """List what stands under this tenant's prefix."""
        return await self._collections.describe_all(tenant)

    async def collection(self, tenant: str, collection: str) -> CollectionInfo:
        """Describe what stands behind this tenant's alias."""
        return await self._collections.describe(tenant, collection)

    async def delete_collection(self, tenant: str, collection: str) -> None:
        """Remove a collection with its passages."""
        await self._collections.remove(tenant, collection)

    async def drop_replacement(self, tenant: str, collection: str, token: str) -> None:
        """Remove the hidden physical collection with this token."""
        await self._replacement.drop(tenant, collection, token)

    async def begin_replacement(self, replacement: Replacement) -> ReplacementState:
        """Create a physical collection for the new embedder beside the one that is searched."""
        return await self._replacement.begin(replacement)

    async def find_lacking(
        self, replacement: Replacement, *, cursor: str | None, limit: int
    ) -> tuple[tuple[Passage, ...], str | None]:
        """Compare a page of both physical collections."""
        return await self._replacement.find_lacking(replacement, cursor=cursor, limit=limit)

    async def fill_replacement(
        self, replacement: Replacement, passages: Sequence[Passage], embeddings: Sequence[Embedding]
    ) -> None:
        """Write into the physical collection of the new embedder."""
        _require_size(embeddings, replacement.embedder.vector_size)
        points = [to_point(*pair) for pair in zip(passages, embeddings, strict=True)]
        for start in range(0, len(points), UPSERT_BATCH):
            await self._replacement.fill(replacement, points[start : start + UPSERT_BATCH])

    async def switch_replacement(self, replacement: Replacement) -> None:
        """Point the alias at the physical collection of the new embedder."""
        await self._replacement.switch(replacement)

    async def complete_replacement(self, replacement: Replacement) -> None:
        """Drop the physical collection of the old embedder."""
        await self._replacement.complete(replacement)

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
