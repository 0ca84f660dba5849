"""The PassageStore port over the handle of the deployment that owns the vector store."""

from collections.abc import Sequence
from typing import Any

from pipelines.domain.model import ModelInfo
from pipelines.domain.passage import CollectionInfo, Embedding, Hit, Passage, SearchFilters, SearchMode
from pipelines.errors import ModelUnavailable, PassageStoreUnavailable
from pipelines.ports.passages import Replacement, ReplacementState
from serve_app.remote.calls import call
from serve_app.resilience import Guard
from serve_app.settings import Policy, ResilienceSettings


class RemotePassageStore:
    """Implements PassageStore and CollectionReplacer; reading and writing have policies and breakers of their own."""

    def __init__(self, handle: Any, guard: Guard, resilience: ResilienceSettings) -> None:
        """Take the owner's handle."""
        self._handle = handle
        self._guard = guard
        self._reading = ("passage store", resilience.passages_search)
        self._writing = ("passage store writing", resilience.passages_write)

    async def ensure_collection(self, tenant: str, collection: str, embedder: ModelInfo) -> None:
        """Create the collection where it does not exist."""
        await self._perform(self._writing, "ensure_collection", tenant, collection, embedder)

    async def upsert(
        self,
        tenant: str,
        collection: str,
        passages: Sequence[Passage],
        embeddings: Sequence[Embedding],
        *,
        embedder: ModelInfo,
    ) -> None:
        """Write passages under their ids."""
        arguments = (tenant, collection, tuple(passages), tuple(embeddings))
        await self._perform(self._writing, "upsert", *arguments, embedder=embedder)

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
        """Find the best passages."""
        options = {"mode": mode, "top_k": top_k, "filters": filters, "embedder": embedder}
        hits: tuple[Hit, ...] = await self._perform(self._reading, "search", tenant, collection, query, **options)
        return hits

    async def passages(
        self, tenant: str, collection: str, job_id: str, *, positions: Sequence[int] | None = None
    ) -> tuple[Passage, ...]:
        """Return one job's passages."""
        found: tuple[Passage, ...] = await self._perform(
            self._reading, "passages", tenant, collection, job_id, positions=positions
        )
        return found

    async def delete_job(self, tenant: str, collection: str, job_id: str, *, from_position: int = 0) -> None:
        """Remove one job's passages from a position on."""
        await self._perform(self._writing, "delete_job", tenant, collection, job_id, from_position=from_position)

    async def collections(self, tenant: str) -> tuple[CollectionInfo, ...]:
        """List this tenant's collections."""
        found: tuple[CollectionInfo, ...] = await self._perform(self._reading, "collections", tenant)
        return found

    async def collection(self, tenant: str, collection: str) -> CollectionInfo:
        """Describe one collection."""
        found: CollectionInfo = await self._perform(self._reading, "collection", tenant, collection)
        return found

    async def delete_collection(self, tenant: str, collection: str) -> None:
        """Remove a collection."""
        await self._perform(self._writing, "delete_collection", tenant, collection)

    async def drop_replacement(self, tenant: str, collection: str, token: str) -> None:
        """Remove what a reindexing has left hidden."""
        await self._perform(self._writing, "drop_replacement", tenant, collection, token)

    async def begin_replacement(self, replacement: Replacement) -> ReplacementState:
        """Make room for another embedder's vectors."""
        state: ReplacementState = await self._perform(self._writing, "begin_replacement", replacement)
        return state

    async def find_lacking(
        self, replacement: Replacement, *, cursor: str | None, limit: int
    ) -> tuple[tuple[Passage, ...], str | None]:
        """Compare the next passages of a collection with its replacement."""
        found: tuple[tuple[Passage, ...], str | None] = await self._perform(
            self._writing, "find_lacking", replacement, cursor=cursor, limit=limit
        )
        return found

    async def fill_replacement(
        self, replacement: Replacement, passages: Sequence[Passage], embeddings: Sequence[Embedding]
    ) -> None:
        """Write passages into the replacement."""
        arguments = (replacement, tuple(passages), tuple(embeddings))
        await self._perform(self._writing, "fill_replacement", *arguments)

    async def switch_replacement(self, replacement: Replacement) -> None:
        """Let searches find the replacement."""
        await self._perform(self._writing, "switch_replacement", replacement)

    async def complete_replacement(self, replacement: Replacement) -> None:
        """Drop the old vectors."""
        await self._perform(self._writing, "complete_replacement", replacement)

    async def _perform(self, guarded: tuple[str, Policy], verb: str, *arguments: Any, **options: Any) -> Any:
        try:
            return await self._guard.call(
                *guarded,
                lambda: call(self._handle.perform, verb, arguments, options),
                unavailable=PassageStoreUnavailable,
            )
        except ModelUnavailable as error:
            raise PassageStoreUnavailable("the vector store's owner is being replaced", None, 5.0) from error
