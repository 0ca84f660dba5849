"""What flows need from a store of passages: to write, search, move and remove them. As ``ports.py``, for retrieval.

Implementations: ``stores/qdrant_passages.py``, ``serve_app/remote_passages.py``, ``fakes/``; one contract suite each.
"""

from collections.abc import Sequence
from typing import Protocol

from pipelines.domain.model import ModelInfo
from pipelines.domain.passage import CollectionInfo, Embedding, Hit, Passage, SearchFilters, SearchMode


class PassageStore(Protocol):
    """Passages and their vectors, a collection per tenant and name. Raises PassageStoreUnavailable throughout."""

    async def ensure_collection(self, tenant: str, collection: str, embedder: ModelInfo) -> None:
        """Create the collection for this embedder where it does not exist; otherwise a no-op.

        Raises EmbedderMismatch where it holds vectors of another model.
        """
        ...

    async def upsert(
        self, tenant: str, collection: str, passages: Sequence[Passage], embeddings: Sequence[Embedding]
    ) -> None:
        """Write passages under their ids; writing the same ones again changes nothing. Lengths must agree."""
        ...

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
        """Return the best ``top_k`` passages, best first, with the scores of the stages that saw them.

        Raises NotFound (no such collection of this tenant), EmbedderMismatch.
        """
        ...

    async def passages(
        self, tenant: str, collection: str, job_id: str, *, positions: Sequence[int] | None = None
    ) -> tuple[Passage, ...]:
        """Return one job's passages (all, or those at ``positions``) in order of position; empty where there are none.

        Positions that do not exist are left out.
        """
        ...

    async def delete_job(self, tenant: str, collection: str, job_id: str, *, from_position: int = 0) -> None:
        """Remove one job's passages from a position on; a no-op where there are none."""
        ...

    async def collections(self, tenant: str) -> tuple[CollectionInfo, ...]:
        """List this tenant's collections, sorted by name."""
        ...

    async def delete_collection(self, tenant: str, collection: str) -> None:
        """Remove a collection with its passages. Raises NotFound."""
        ...


class CollectionReplacer(Protocol):
    """What a PassageStore does besides, so that a collection can move to another embedder while it is searched.

    The replacement is hidden: searches, ``passages`` and ``collections`` see the collection as it is, until it is
    switched. Raises PassageStoreUnavailable throughout, and NotFound where this tenant has no such collection.
    """

    async def begin_replacement(self, tenant: str, collection: str, embedder: ModelInfo) -> bool:
        """Make room for this embedder's vectors, keeping what an earlier attempt left.

        Returns False, and does nothing, where the collection holds this embedder's vectors already.
        """
        ...

    async def scan(
        self, tenant: str, collection: str, *, cursor: str | None, limit: int
    ) -> tuple[tuple[Passage, ...], str | None]:
        """Return the next passages of the collection in order of id, and the cursor after them; None at the end."""
        ...

    async def fill_replacement(
        self,
        tenant: str,
        collection: str,
        embedder: ModelInfo,
        passages: Sequence[Passage],
        embeddings: Sequence[Embedding],
    ) -> None:
        """Write passages into the replacement."""
        ...

    async def complete_replacement(
        self, tenant: str, collection: str, embedder: ModelInfo, *, limit: int
    ) -> tuple[Passage, ...]:
        """Switch the collection to the replacement and drop the old vectors, or say what the replacement still lacks.

        Does nothing where somebody else has switched it to this embedder already.

        Passages that were removed meanwhile are removed from the replacement. Where others were added or changed,
        nothing is switched: up to ``limit`` of them are returned, to be filled in. An empty tuple means: switched.
        """
        ...
