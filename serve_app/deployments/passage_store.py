"""The owner of the vector store: Qdrant's local mode locks its folder, so exactly one process may hold it."""

from collections.abc import Sequence

from pipelines.domain.model import ModelInfo
from pipelines.domain.passage import CollectionInfo, Embedding, Hit, Passage, SearchFilters, SearchMode
from pipelines.stores.qdrant_passages import QdrantPassageStore
from serve_app.logs import configure_logs
from serve_app.settings import Settings


class PassageStoreDeployment:
    """Owns the connection to Qdrant, or its local folder. Verbs are PassageStore's, with positional arguments."""

    async def __init__(self, settings: Settings) -> None:
        configure_logs(settings.log_level)
        self._store = await QdrantPassageStore.open(settings.data.passages)

    async def ensure_collection(self, tenant: str, collection: str, embedder: ModelInfo) -> None:
        """Create the collection where it does not exist."""
        await self._store.ensure_collection(tenant, collection, embedder)

    async def upsert(
        self, tenant: str, collection: str, passages: Sequence[Passage], embeddings: Sequence[Embedding]
    ) -> None:
        """Write passages under their ids."""
        await self._store.upsert(tenant, collection, passages, embeddings)

    async def search(
        self,
        tenant: str,
        collection: str,
        query: Embedding,
        mode: SearchMode,
        top_k: int,
        filters: SearchFilters,
        embedder: ModelInfo,
    ) -> tuple[Hit, ...]:
        """Find the best passages."""
        return await self._store.search(
            tenant, collection, query, mode=mode, top_k=top_k, filters=filters, embedder=embedder
        )

    async def passages(self, tenant: str, collection: str, job_id: str) -> tuple[Passage, ...]:
        """Return all passages of one job."""
        return await self._store.passages(tenant, collection, job_id)

    async def delete_job(self, tenant: str, collection: str, job_id: str) -> None:
        """Remove one job's passages."""
        await self._store.delete_job(tenant, collection, job_id)

    async def collections(self, tenant: str) -> tuple[CollectionInfo, ...]:
        """List a tenant's collections."""
        return await self._store.collections(tenant)

    async def delete_collection(self, tenant: str, collection: str) -> None:
        """Remove a collection."""
        await self._store.delete_collection(tenant, collection)
