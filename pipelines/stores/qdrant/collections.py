"""A tenant's collections in Qdrant: what stands behind each, which model filled it, how it comes to be."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from qdrant_client import models

from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import CollectionInfo
from pipelines.errors import CollectionDamaged, EmbedderMismatch, NotFound
from pipelines.stores.qdrant.connection import CollectionExists, CollectionMissing, Connection
from pipelines.stores.qdrant.names import alias_name, is_replacement, physical_name, tenant_prefix
from pipelines.stores.qdrant.records import DENSE, PAYLOAD_INDEXES, SPARSE

ResultT = TypeVar("ResultT")

_MAX_LANGUAGES = 100
_ATTEMPTS = 3
"""What stands behind a collection may be switched or deleted between two calls, but not each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalCollection:
    """What an alias points at: the vectors of one model."""

    name: str
    embedder: str
    embedder_hash: str
    vector_size: int
    source: str | None = None
    """Of one that was made as a replacement: the physical collection that it replaces."""

    def holds(self, embedder: EmbedderInfo) -> bool:
        """Say whether this embedder made the vectors."""
        return (self.embedder, self.embedder_hash) == (embedder.name, embedder.checkpoint_hash or "")

    def require(self, embedder: EmbedderInfo) -> None:
        """Raise EmbedderMismatch unless this embedder made the vectors."""
        if not self.holds(embedder):
            raise EmbedderMismatch(
                f"the collection holds vectors of {self.embedder}, not of {embedder.name}: reindex it first",
                "collection",
            )


class QdrantCollections:
    """Finds and makes physical collections; remembers what it found until a call proves it outdated."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, PhysicalCollection] = {}
        self._making = asyncio.Lock()

    async def on_physical(
        self, tenant: str, collection: str, action: Callable[[PhysicalCollection], Awaitable[ResultT]]
    ) -> ResultT:
        """Act on the physical collection, again where it turns out that the alias has moved since.

        Raises NotFound where this tenant has no such collection.
        """
        target = self._known.get(alias_name(tenant, collection))
        for _ in range(_ATTEMPTS):
            remembered = target is not None
            target = target or await self.resolve(tenant, collection)
            try:
                return await action(target)
            except EmbedderMismatch:
                if not remembered:
                    raise
            except CollectionMissing:
                pass
            target = None
        raise not_found(collection)

    async def resolve(self, tenant: str, collection: str) -> PhysicalCollection:
        """Ask Qdrant what stands behind the alias now. Raises NotFound."""
        alias = alias_name(tenant, collection)
        self._known.pop(alias, None)
        try:
            found = await self.read(alias)
        except CollectionMissing as error:
            raise not_found(collection) from error
        self._known[alias] = found
        return found

    async def read(self, name: str) -> PhysicalCollection:
        """Ask Qdrant what is known of a physical collection. Raises CollectionMissing."""
        metadata = await self._metadata(name)
        return PhysicalCollection(
            name=metadata["physical"],
            embedder=metadata["embedder"],
            embedder_hash=metadata["embedder_hash"],
            vector_size=metadata["vector_size"],
            source=metadata.get("source"),
        )

    async def ensure(self, tenant: str, collection: str, embedder: EmbedderInfo) -> PhysicalCollection:
        """Find the collection, or make it: vectors, payload indexes, then the alias that makes it visible.

        A creation that broke off half way is completed by the next. Raises EmbedderMismatch.
        """
        for _ in range(_ATTEMPTS):
            try:
                found = await self.resolve(tenant, collection)
            except NotFound:
                with suppress(CollectionMissing):  # somebody deleted it while it was made
                    await self._make(tenant, collection, embedder)
                continue
            found.require(embedder)
            return found
        raise not_found(collection)

    async def create(
        self, tenant: str, collection: str, embedder: EmbedderInfo, name: str, *, source: str | None = None
    ) -> bool:
        """Create a physical collection with its payload indexes; return whether it is new. Raises CollectionMissing."""
        modifier = models.Modifier.IDF if embedder.sparse_idf else models.Modifier.NONE
        size = embedder.vector_size
        metadata = {
            "physical": name,
            "tenant": tenant,
            "collection": collection,
            "embedder": embedder.name,
            "embedder_hash": embedder.checkpoint_hash or "",
            "vector_size": size,
        }
        try:
            await self._connection.call(
                "create_collection",
                collection_name=name,
                vectors_config={DENSE: models.VectorParams(size=size, distance=models.Distance.COSINE)},
                sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=modifier)},
                metadata=metadata | ({"source": source} if source else {}),
            )
        except CollectionExists:
            new = False
        else:
            new = True
        await self._index_payload(name)
        return new

    async def point_alias(self, tenant: str, collection: str, name: str) -> None:
        """Let the collection mean the physical one of this name from now on. Raises CollectionMissing.

        Searches see the one or the other.
        """
        alias = models.CreateAlias(collection_name=name, alias_name=alias_name(tenant, collection))
        await self._connection.call(
            "update_collection_aliases",
            change_aliases_operations=[models.CreateAliasOperation(create_alias=alias)],
        )
        self._known.pop(alias.alias_name, None)

    async def remove(self, tenant: str, collection: str) -> None:
        """Delete the physical collections, and with the last one the alias. Raises NotFound.

        Replacements go first: whoever is killed in between leaves a collection that can be deleted again, and nothing
        that a collection of the same name could come upon.
        """
        live = await self.resolve(tenant, collection)
        await self.drop_others(tenant, collection, live.name)
        await self.drop(live.name)
        for name in await self.physical_names(tenant, collection):
            if is_replacement(tenant, collection, name):  # begun in between
                await self.drop(name)
        self._known.pop(alias_name(tenant, collection), None)

    async def drop(self, name: str) -> None:
        """Delete a physical collection; a no-op where it is gone."""
        with suppress(CollectionMissing):
            await self._connection.call("delete_collection", collection_name=name)

    async def drop_others(self, tenant: str, collection: str, *kept: str) -> None:
        """Delete all physical collections but these."""
        for name in await self.physical_names(tenant, collection):
            if name not in kept:
                await self.drop(name)

    async def physical_names(self, tenant: str, collection: str) -> tuple[str, ...]:
        """Return the names of all physical collections: the one that is searched, and what is hidden."""
        answer = await self._connection.call("get_collections")
        prefix = alias_name(tenant, collection) + "-"
        return tuple(found.name for found in answer.collections if found.name.startswith(prefix))

    async def count(self, name: str) -> int:
        """Return how many passages a physical collection has. Raises CollectionMissing."""
        counted = await self._connection.call("count", collection_name=name, exact=True)
        return int(counted.count)

    async def describe_all(self, tenant: str) -> tuple[CollectionInfo, ...]:
        """Describe every collection under the tenant's prefix, by name."""
        answer = await self._connection.call("get_aliases")
        names = [item.alias_name for item in answer.aliases if item.alias_name.startswith(tenant_prefix(tenant))]
        described = await asyncio.gather(*(self._describe(name) for name in names))
        return tuple(sorted((info for info in described if info is not None), key=lambda info: info.name))

    async def describe(self, tenant: str, collection: str) -> CollectionInfo:
        """Describe one collection. Raises NotFound."""
        described = await self._describe(alias_name(tenant, collection))
        if described is None:
            raise not_found(collection)
        return described

    async def _describe(self, alias: str) -> CollectionInfo | None:
        """Return None where the collection went away in between."""
        for _ in range(_ATTEMPTS):
            try:
                metadata = await self._metadata(alias)
            except CollectionMissing:
                return None
            with suppress(CollectionMissing):  # switched or deleted: the next attempt finds out
                return await self._described(metadata)
        return None

    async def _described(self, metadata: dict[str, Any]) -> CollectionInfo:
        name = metadata["physical"]
        info = CollectionInfo(
            name=metadata["collection"],
            passages=0,
            embedder=metadata["embedder"],
            embedder_hash=metadata["embedder_hash"],
            vector_size=metadata["vector_size"],
        )
        try:
            passages = await self.count(name)
            languages = await self._connection.call("facet", collection_name=name, key="language", limit=_MAX_LANGUAGES)
        except CollectionDamaged:
            return replace(info, damaged=True)
        return replace(info, passages=passages, languages=tuple(sorted(str(hit.value) for hit in languages.hits)))

    async def _metadata(self, name: str) -> dict[str, Any]:
        info = await self._connection.call("get_collection", collection_name=name)
        metadata: dict[str, Any] = info.config.metadata or {}
        return metadata

    async def _make(self, tenant: str, collection: str, embedder: EmbedderInfo) -> None:
        """Make a collection that is not there, one at a time: nobody's leftovers must become another's passages."""
        name = physical_name(tenant, collection, embedder)
        async with self._making:
            # Listed before the alias is looked for: passages come only after the alias, so that what has some and none
            # is left of a deletion that broke off, and not what another process makes at this moment.
            left = await self.physical_names(tenant, collection)
            adoptable = name not in left or not await self.count(name)
            with suppress(NotFound):
                await self.resolve(tenant, collection)
                return
            for found in left:
                if found != name or not adoptable:
                    await self.drop(found)
            await self.create(tenant, collection, embedder, name)
            await self.point_alias(tenant, collection, name)

    async def _index_payload(self, name: str) -> None:
        """Index the fields that filters name; a no-op for those that are."""
        for field, kind in PAYLOAD_INDEXES.items():
            await self._connection.call(
                "create_payload_index", collection_name=name, field_name=field, field_schema=kind, wait=True
            )


def not_found(collection: str) -> NotFound:
    """Return what to raise for a collection that is not there, or not any more."""
    return NotFound(f"there is no collection {collection!r}", "collection")
