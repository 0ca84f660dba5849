"""What flows need from a store of passages: to write, search, move and remove them. As ``ports.py``, for retrieval.

Implementations: ``stores/qdrant_passages.py``, ``serve_app/remote/`` (a handle), ``fakes/``; one contract suite each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import CollectionInfo, Embedding, Hit, Passage, SearchFilters, SearchMode


class PassageStore(Protocol):
    """Passages and their vectors, a collection per tenant and name. Raises PassageStoreUnavailable throughout."""

    async def ensure_collection(self, tenant: str, collection: str, embedder: EmbedderInfo) -> None:
        """Create the collection for this embedder where it does not exist; otherwise a no-op.

        Raises EmbedderMismatch where it holds vectors of another model.
        """
        ...

    async def upsert(
        self,
        tenant: str,
        collection: str,
        passages: Sequence[Passage],
        embeddings: Sequence[Embedding],
        *,
        embedder: EmbedderInfo,
    ) -> None:
        """Write passages under their ids; writing the same ones again changes nothing. Lengths must agree.

        Once this returns, a replacement under way has these passages as well before it takes the collection's place.
        Raises NotFound, and EmbedderMismatch where the collection holds vectors of another model than ``embedder``,
        which made these: also where it was switched while they were written.
        """
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
        embedder: EmbedderInfo,
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
        """Remove one job's passages from a position on; a no-op where there are none.

        Once this returns, no replacement holds them either, and none under way can bring them back.
        """
        ...

    async def collections(self, tenant: str) -> tuple[CollectionInfo, ...]:
        """List this tenant's collections, sorted by name."""
        ...

    async def collection(self, tenant: str, collection: str) -> CollectionInfo:
        """Describe one collection. Raises NotFound."""
        ...

    async def delete_collection(self, tenant: str, collection: str) -> None:
        """Remove a collection with its passages and its replacements: what is made under its name next is empty.

        Broken off half way, it can be done again. Raises NotFound.
        """
        ...

    async def drop_replacement(self, tenant: str, collection: str, token: str) -> None:
        """Remove what a reindexing with this token has left hidden; a no-op where there is nothing, or it is in use."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A hidden copy of a collection with another embedder's vectors, as the one reindexing knows it that fills it."""

    tenant: str
    collection: str
    embedder: EmbedderInfo
    token: str
    """Whoever begins with the same one goes on with the same copy: the id of the job."""


class ReplacementState(Enum):
    """What begin_replacement found."""

    NEEDLESS = "needless"
    """The collection holds this embedder's vectors already."""
    BEGUN = "begun"
    """The replacement is empty."""
    RESUMED = "resumed"
    """It holds what an earlier attempt with the same token has filled in."""
    SWITCHED = "switched"
    """An earlier attempt with the same token switched to it; the old vectors are still there."""


class CollectionReplacer(Protocol):
    """What a PassageStore does besides, so that a collection can move to another embedder while it is searched.

    To be called in this order: begin, then find what is lacking and fill it in until a whole round of that finds
    nothing, switch, one more such round (for what was written just before), complete. The replacement is hidden:
    searches, ``passages`` and ``collections`` see the collection as it is, until it is switched.

    Raises PassageStoreUnavailable throughout, NotFound where this tenant has no such collection (any more), and
    Conflict where the replacement is not this reindexing's any more: it was dropped, or another one has begun or
    finished since. Every call can be repeated, each is short, and all may be broken off.
    """

    async def begin_replacement(self, replacement: Replacement) -> ReplacementState:
        """Make room for this embedder's vectors, keeping what an earlier attempt with the same token left.

        Drops everything else that is hidden: the replacements of others, and old vectors that were left over.
        """
        ...

    async def find_lacking(
        self, replacement: Replacement, *, cursor: str | None, limit: int
    ) -> tuple[tuple[Passage, ...], str | None]:
        """Compare the next ``limit`` passages of the collection, by id, with the replacement.

        Returns those that it lacks or has otherwise, and the cursor after them; None at the end. What the collection
        does not have (any more) is removed from the replacement.

        After the switch it is the old vectors' passages that are compared: what they have and the collection lacks is
        returned, what the collection has got since stays as it is.
        """
        ...

    async def fill_replacement(
        self, replacement: Replacement, passages: Sequence[Passage], embeddings: Sequence[Embedding]
    ) -> None:
        """Write what was lacking; lengths must agree.

        Passages that were removed from the collection since they were found are left out, and after the switch those
        that somebody has written since. Raises EmbedderMismatch for vectors of another length.
        """
        ...

    async def switch_replacement(self, replacement: Replacement) -> None:
        """Let searches and writers find the replacement from now on; keeps the old vectors."""
        ...

    async def complete_replacement(self, replacement: Replacement) -> None:
        """Drop the old vectors, and all else that is hidden. Raises Conflict where it is not switched."""
        ...
