"""A tenant's collections in Qdrant: what stands behind each, which model filled it, how it comes to be."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from qdrant_client import models

from pipelines.domain.model import ModelInfo
from pipelines.domain.passage import CollectionInfo
from pipelines.errors import EmbedderMismatch, NotFound
from pipelines.stores.collection_names import alias_name, physical_name, tenant_prefix
from pipelines.stores.qdrant_connection import CollectionExists, CollectionMissing, Connection
from pipelines.stores.qdrant_records import DENSE, PAYLOAD_INDEXES, SPARSE

ResultT = TypeVar("ResultT")

_MAX_LANGUAGES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalCollection:
    """What an alias points at: the vectors of one model."""

    name: str
    embedder: str
    embedder_hash: str
    vector_size: int

    def require(self, embedder: ModelInfo) -> None:
        """Raise EmbedderMismatch unless this embedder made the vectors."""
        if (self.embedder, self.embedder_hash) != (embedder.name, embedder.checkpoint_hash or ""):
            raise EmbedderMismatch(
                f"the collection holds vectors of {self.embedder}, not of {embedder.name}: reindex it first",
                "collection",
            )


class QdrantCollections:
    """Finds and makes physical collections; remembers what it found until a call proves it outdated."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, PhysicalCollection] = {}

    async def on_physical(
        self, tenant: str, collection: str, action: Callable[[PhysicalCollection], Awaitable[ResultT]]
    ) -> ResultT:
        """Act on the physical collection, once more where it turns out that the alias has moved since.

        Raises NotFound where this tenant has no such collection.
        """
        known = self._known.get(alias_name(tenant, collection))
        if known is not None:
            try:
                return await action(known)
            except (CollectionMissing, EmbedderMismatch):
                self._known.pop(alias_name(tenant, collection), None)
        try:
            return await action(await self.resolve(tenant, collection))
        except CollectionMissing as error:
            raise not_found(collection) from error

    async def resolve(self, tenant: str, collection: str) -> PhysicalCollection:
        """Ask Qdrant what stands behind the alias now. Raises NotFound."""
        alias = alias_name(tenant, collection)
        self._known.pop(alias, None)
        try:
            metadata = await self._metadata(alias)
        except CollectionMissing as error:
            raise not_found(collection) from error
        found = PhysicalCollection(
            name=metadata["physical"],
            embedder=metadata["embedder"],
            embedder_hash=metadata["embedder_hash"],
            vector_size=metadata["vector_size"],
        )
        self._known[alias] = found
        return found

    def known(self, tenant: str, collection: str) -> PhysicalCollection | None:
        """Return what was last found, without asking."""
        return self._known.get(alias_name(tenant, collection))

    async def ensure(self, tenant: str, collection: str, embedder: ModelInfo) -> PhysicalCollection:
        """Find the collection, or make it: vectors, payload indexes, then the alias that makes it visible.

        A creation that broke off half way is completed by the next. Raises EmbedderMismatch.
        """
        try:
            found = await self.resolve(tenant, collection)
        except NotFound:
            name = await self.create(tenant, collection, embedder)
            await self.point_alias(tenant, collection, name)
            found = await self.resolve(tenant, collection)
        found.require(embedder)
        return found

    async def create(self, tenant: str, collection: str, embedder: ModelInfo) -> str:
        """Create the physical collection of this embedder where it does not exist; return its name."""
        name = physical_name(tenant, collection, embedder)
        modifier = models.Modifier.IDF if embedder.details.get("sparse_idf") else models.Modifier.NONE
        size = int(str(embedder.details["vector_size"]))
        try:
            await self._connection.call(
                "create_collection",
                collection_name=name,
                vectors_config={DENSE: models.VectorParams(size=size, distance=models.Distance.COSINE)},
                sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=modifier)},
                metadata={
                    "physical": name,
                    "tenant": tenant,
                    "collection": collection,
                    "embedder": embedder.name,
                    "embedder_hash": embedder.checkpoint_hash or "",
                    "vector_size": size,
                },
            )
        except CollectionExists:
            await self._index_payload(name)
            return name
        await self._index_payload(name)
        return name

    async def point_alias(self, tenant: str, collection: str, name: str) -> None:
        """Let the collection mean the physical one of this name from now on; searches see the one or the other."""
        alias = models.CreateAlias(collection_name=name, alias_name=alias_name(tenant, collection))
        await self._connection.call(
            "update_collection_aliases",
            change_aliases_operations=[models.CreateAliasOperation(create_alias=alias)],
        )
        self._known.pop(alias.alias_name, None)

    async def remove(self, tenant: str, collection: str) -> None:
        """Delete the physical collections, and with them the alias. Raises NotFound."""
        await self.resolve(tenant, collection)
        self._known.pop(alias_name(tenant, collection), None)
        for name in await self.physical_names(tenant, collection):
            await self._connection.call("delete_collection", collection_name=name)

    async def physical_names(self, tenant: str, collection: str) -> tuple[str, ...]:
        """Return the names of all physical collections: the one that is searched, and replacements under way."""
        answer = await self._connection.call("get_collections")
        prefix = alias_name(tenant, collection) + "-"
        return tuple(found.name for found in answer.collections if found.name.startswith(prefix))

    async def describe_all(self, tenant: str) -> tuple[CollectionInfo, ...]:
        """Describe every collection under the tenant's prefix, by name."""
        answer = await self._connection.call("get_aliases")
        names = [item.alias_name for item in answer.aliases if item.alias_name.startswith(tenant_prefix(tenant))]
        described = await asyncio.gather(*(self._describe(name) for name in names))
        return tuple(sorted((info for info in described if info is not None), key=lambda info: info.name))

    async def _describe(self, alias: str) -> CollectionInfo | None:
        """Return None where the collection went away in between."""
        try:
            metadata = await self._metadata(alias)
            name = metadata["physical"]
            counted = await self._connection.call("count", collection_name=name, exact=True)
            languages = await self._connection.call("facet", collection_name=name, key="language", limit=_MAX_LANGUAGES)
        except CollectionMissing:
            return None
        return CollectionInfo(
            name=metadata["collection"],
            passages=counted.count,
            embedder=metadata["embedder"],
            embedder_hash=metadata["embedder_hash"],
            vector_size=metadata["vector_size"],
            languages=tuple(sorted(str(hit.value) for hit in languages.hits)),
        )

    async def _metadata(self, name: str) -> dict[str, Any]:
        info = await self._connection.call("get_collection", collection_name=name)
        metadata: dict[str, Any] = info.config.metadata or {}
        return metadata

    async def _index_payload(self, name: str) -> None:
        """Index the fields that filters name; a no-op for those that are."""
        for field, kind in PAYLOAD_INDEXES.items():
            await self._connection.call(
                "create_payload_index", collection_name=name, field_name=field, field_schema=kind, wait=True
            )


def not_found(collection: str) -> NotFound:
    """Return what to raise for a collection that is not there, or not any more."""
    return NotFound(f"there is no collection {collection!r}", "collection")
