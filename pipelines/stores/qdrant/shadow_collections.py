"""A collection moved to another embedder: a second physical collection is filled beside it, then the alias switches.

Which of the two is the copy stands in Qdrant alone: in its name, which has the replacement's token in it, in its
metadata, which name the original, and in the alias. A process that dies leaves nothing to be remembered, and whoever
comes with a token that is not the copy's any more is refused. A lock keeps these calls apart; what searches, writes and
deletes passages does not wait for it.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from qdrant_client import models

from pipelines.domain.passage import Passage
from pipelines.errors import Conflict, NotFound
from pipelines.ports.passages import Replacement, ReplacementState
from pipelines.retrieval.passages import same_passage
from pipelines.stores.qdrant.collections import PhysicalCollection, QdrantCollections
from pipelines.stores.qdrant.connection import CollectionMissing, Connection
from pipelines.stores.qdrant.names import alias_name, is_replacement, physical_name
from pipelines.stores.qdrant.records import to_passage

COPIED = "copied"
"""Mark in the payload of a point that a reindexing wrote: after the switch, one without it is the newer one."""

Payloads = Mapping[str, Mapping[str, Any]]
"""By id, in order of id."""


@dataclass(frozen=True, slots=True)
class _Copying:
    """Where passages come from and where they go."""

    source: str
    target: str
    switched: bool
    """Searches find the target already."""


class ShadowCollections:
    """Implements the verbs of CollectionReplacer, and PassageStore's for what they leave, over physical collections."""

    def __init__(self, connection: Connection, collections: QdrantCollections) -> None:
        self._connection = connection
        self._collections = collections
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def begin(self, replacement: Replacement) -> ReplacementState:
        """Create the copy beside the collection that is searched, and drop what is neither of them."""
        async with self._alone(replacement):
            live = await self._resolve(replacement)
            name = _name(replacement)
            if live.holds(replacement.embedder):
                if live.name == name and live.source in await self._names(replacement):
                    return ReplacementState.SWITCHED
                await self._drop_others(replacement, live.name)
                return ReplacementState.NEEDLESS
            await self._drop_others(replacement, live.name, name)
            state = await self._prepare(replacement, live, name)
            if await self._gone_or_switched(replacement, live):
                await self._collections.drop(name)
                raise await self._refusal(replacement)
            return state

    async def find_lacking(
        self, replacement: Replacement, *, cursor: str | None, limit: int
    ) -> tuple[tuple[Passage, ...], str | None]:
        """Compare a page of the original with what the copy has in the same stretch of ids."""
        async with self._alone(replacement):
            copying = await self._copying(replacement)
            try:
                page, following = await self._scroll(copying.source, cursor, limit)
            except CollectionMissing:
                if copying.switched:
                    return (), None
                raise
            copies = await self._read(copying.target, cursor, lambda key: following is not None and key >= following)
            if not copying.switched:
                await self._delete(copying.target, [key for key in copies if key not in page])
            lacking = [
                payload for key, payload in page.items() if _is_lacking(payload, copies.get(key), copying.switched)
            ]
            return tuple(to_passage(payload) for payload in lacking), following

    async def fill(self, replacement: Replacement, points: Sequence[models.PointStruct]) -> None:
        """Write copies, and remove those again whose original was deleted while they were embedded."""
        async with self._alone(replacement):
            copying = await self._copying(replacement)
            if copying.switched:
                points = await self._still_lacking(copying, points)
            if not points:
                return
            marked = [point.model_copy(update={"payload": {**(point.payload or {}), COPIED: True}}) for point in points]
            await self._connection.call("upsert", collection_name=copying.target, points=marked, wait=True)
            ids = _ids(points)
            originals = await self._stretch(copying.source, ids)
            await self._delete(copying.target, [key for key in ids if key not in originals])

    async def switch(self, replacement: Replacement) -> None:
        """Point the alias at the copy."""
        async with self._alone(replacement):
            copying = await self._copying(replacement)
            if not copying.switched:
                await self._collections.point_alias(replacement.tenant, replacement.collection, copying.target)

    async def complete(self, replacement: Replacement) -> None:
        """Drop the original, and all else that is hidden."""
        async with self._alone(replacement):
            copying = await self._copying(replacement)
            if not copying.switched:
                raise Conflict("this reindexing has not switched the collection yet", "collection")
            await self._drop_others(replacement, copying.target)

    async def drop(self, tenant: str, collection: str, token: str) -> None:
        """Drop the copies with this token that no alias points at."""
        async with self._locks[alias_name(tenant, collection)]:
            names = await self._collections.physical_names(tenant, collection)
            hidden = [name for name in names if is_replacement(tenant, collection, name, token)]
            if not hidden:
                return
            live = None
            with suppress(NotFound):
                live = (await self._collections.resolve(tenant, collection)).name
            for name in hidden:
                if name != live:
                    await self._collections.drop(name)

    @asynccontextmanager
    async def _alone(self, replacement: Replacement) -> AsyncGenerator[None, None]:
        """Keep the other calls for this collection away, and say what it means that something is missing."""
        async with self._locks[alias_name(replacement.tenant, replacement.collection)]:
            try:
                yield
            except CollectionMissing as error:
                raise await self._refusal(replacement) from error

    async def _copying(self, replacement: Replacement) -> _Copying:
        """Say which is the original and which the copy. Raises NotFound, and Conflict for a stranger."""
        name = _name(replacement)
        live = await self._resolve(replacement)
        if live.name == name and live.source is not None:
            return _Copying(live.source, name, switched=True)
        if (await self._collections.read(name)).source != live.name:
            raise await self._refusal(replacement)
        return _Copying(live.name, name, switched=False)

    async def _prepare(self, replacement: Replacement, live: PhysicalCollection, name: str) -> ReplacementState:
        tenant, collection, embedder = replacement.tenant, replacement.collection, replacement.embedder
        if await self._collections.create(tenant, collection, embedder, name, source=live.name):
            return ReplacementState.BEGUN
        if (await self._collections.read(name)).source != live.name:  # the collection was switched since
            await self._collections.drop(name)
            await self._collections.create(tenant, collection, embedder, name, source=live.name)
        return ReplacementState.RESUMED if await self._collections.count(name) else ReplacementState.BEGUN

    async def _still_lacking(self, copying: _Copying, points: Sequence[models.PointStruct]) -> list[models.PointStruct]:
        """Leave out what somebody wrote since the switch. Raises CollectionMissing where the original is dropped."""
        await self._collections.read(copying.source)
        there = await self._stretch(copying.target, _ids(points))
        return [point for point in points if COPIED in there.get(str(point.id), {COPIED: True})]

    async def _resolve(self, replacement: Replacement) -> PhysicalCollection:
        return await self._collections.resolve(replacement.tenant, replacement.collection)

    async def _gone_or_switched(self, replacement: Replacement, live: PhysicalCollection) -> bool:
        try:
            return (await self._resolve(replacement)).name != live.name
        except NotFound:
            return True

    async def _refusal(self, replacement: Replacement) -> Conflict:
        """Return what to raise where the copy is not this reindexing's. Raises NotFound without a collection."""
        await self._resolve(replacement)
        return Conflict("this reindexing was ended, or another one has taken its place", "collection")

    async def _names(self, replacement: Replacement) -> tuple[str, ...]:
        return await self._collections.physical_names(replacement.tenant, replacement.collection)

    async def _drop_others(self, replacement: Replacement, *kept: str) -> None:
        await self._collections.drop_others(replacement.tenant, replacement.collection, *kept)

    async def _stretch(self, name: str, ids: Sequence[str]) -> Payloads:
        """Return what there is from the first of these sorted ids to the last."""
        if not ids:
            return {}
        return await self._read(name, ids[0], lambda key: key > ids[-1], limit=len(ids) + 1)

    async def _read(
        self, name: str, first: str | None, is_beyond: Callable[[str], bool], *, limit: int = 500
    ) -> Payloads:
        found: dict[str, Mapping[str, Any]] = {}
        while True:
            page, first = await self._scroll(name, first, limit)
            found.update({key: payload for key, payload in page.items() if not is_beyond(key)})
            if first is None or is_beyond(first):
                return found

    async def _scroll(self, name: str, first: str | None, limit: int) -> tuple[Payloads, str | None]:
        records, following = await self._connection.call("scroll", collection_name=name, limit=limit, offset=first)
        return {str(record.id): record.payload for record in records}, following and str(following)

    async def _delete(self, name: str, ids: Sequence[str]) -> None:
        if ids:
            selector = models.PointIdsList(points=list(ids))
            await self._connection.call("delete", collection_name=name, points_selector=selector, wait=True)


def _name(replacement: Replacement) -> str:
    return physical_name(replacement.tenant, replacement.collection, replacement.embedder, replacement.token)


def _ids(points: Sequence[models.PointStruct]) -> list[str]:
    return sorted(str(point.id) for point in points)


def _is_lacking(original: Mapping[str, Any], copy: Mapping[str, Any] | None, switched: bool) -> bool:
    if copy is None:
        return True
    if switched and COPIED not in copy:
        return False
    return {**original, COPIED: True} != {**copy, COPIED: True} and not same_passage(
        to_passage(original), to_passage(copy)
    )
