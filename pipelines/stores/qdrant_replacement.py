"""A collection moved to another embedder: a second physical collection is filled beside it, then the alias switches."""

from collections.abc import Mapping, Sequence
from typing import Any

from qdrant_client import models

from pipelines.domain.model import ModelInfo
from pipelines.domain.passage import Passage
from pipelines.errors import NotFound
from pipelines.stores.collection_names import physical_name
from pipelines.stores.qdrant_collections import PhysicalCollection, QdrantCollections
from pipelines.stores.qdrant_connection import CollectionMissing, Connection
from pipelines.stores.qdrant_records import to_passage

_PAGE = 1_000


class QdrantReplacement:
    """The part of CollectionReplacer that concerns physical collections."""

    def __init__(self, connection: Connection, collections: QdrantCollections) -> None:
        self._connection = connection
        self._collections = collections

    async def begin(self, tenant: str, collection: str, embedder: ModelInfo) -> bool:
        """Create the physical collection of the new embedder; see CollectionReplacer.

        Where it is the one that is searched, what else is there is left over from a switch that broke off.
        """
        new = physical_name(tenant, collection, embedder)
        if new == (await self._collections.resolve(tenant, collection)).name:
            await self._drop_others(tenant, collection, new)
            return False
        await self._collections.create(tenant, collection, embedder)
        return True

    async def scan(
        self, tenant: str, collection: str, *, cursor: str | None, limit: int
    ) -> tuple[tuple[Passage, ...], str | None]:
        """Scroll in order of id; see CollectionReplacer."""

        async def read(target: PhysicalCollection) -> Any:
            return await self._connection.call("scroll", collection_name=target.name, limit=limit, offset=cursor)

        records, following = await self._collections.on_physical(tenant, collection, read)
        return tuple(to_passage(record.payload) for record in records), following and str(following)

    async def complete(self, tenant: str, collection: str, embedder: ModelInfo, *, limit: int) -> tuple[Passage, ...]:
        """Compare, and switch where nothing is lacking; see CollectionReplacer."""
        old = await self._collections.resolve(tenant, collection)
        new = physical_name(tenant, collection, embedder)
        if old.name == new:  # somebody else was quicker
            return ()
        there, copied = await self._payloads(old.name), await self._payloads(new)
        await self._delete(new, [key for key in copied if key not in there])
        lacking = [payload for key, payload in there.items() if copied.get(key) != payload]
        if lacking:
            return tuple(to_passage(payload) for payload in lacking[:limit])
        await self._collections.point_alias(tenant, collection, new)
        await self._drop_others(tenant, collection, new)
        return ()

    async def _drop_others(self, tenant: str, collection: str, kept: str) -> None:
        for name in await self._collections.physical_names(tenant, collection):
            if name != kept:
                await self._connection.call("delete_collection", collection_name=name)

    async def _payloads(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        """Return all payloads by id, in order of id. Raises NotFound where the replacement was never begun."""
        found: dict[str, Mapping[str, Any]] = {}
        offset: Any = None
        while True:
            try:
                page, offset = await self._connection.call("scroll", collection_name=name, limit=_PAGE, offset=offset)
            except CollectionMissing as error:
                raise NotFound("no reindexing of this collection is under way", "collection") from error
            found.update({str(record.id): record.payload for record in page})
            if offset is None:
                return found

    async def _delete(self, name: str, ids: Sequence[str]) -> None:
        if ids:
            selector = models.PointIdsList(points=list(ids))
            await self._connection.call("delete", collection_name=name, points_selector=selector, wait=True)
