"""Passages in memory, searched exactly, and a reranker that counts shared words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.domain.model import ModelInfo
from pipelines.domain.passage import (
    CollectionInfo,
    Embedding,
    Hit,
    Passage,
    SearchFilters,
    SearchMode,
    SparseVector,
    StageScores,
)
from pipelines.errors import EmbedderMismatch, NotFound, PassageStoreUnavailable
from pipelines.steps.fuse_rankings import fuse_scores, word_shares


@dataclass(slots=True, kw_only=True)
class _Collection:
    embedder: ModelInfo
    points: dict[str, tuple[Passage, Embedding]] = field(default_factory=dict)

    def require(self, embedder: ModelInfo) -> None:
        if _identity(self.embedder) != _identity(embedder):
            raise EmbedderMismatch(
                f"the collection holds vectors of {self.embedder.name}, not of {embedder.name}", "collection"
            )


class InMemoryPassageStore:
    """Implements PassageStore and CollectionReplacer with dictionaries."""

    def __init__(self) -> None:
        self.down = False
        """While True, every call raises PassageStoreUnavailable, as a stopped server does."""
        self._collections: dict[tuple[str, str], _Collection] = {}
        self._replacements: dict[tuple[str, str, str], _Collection] = {}

    async def ensure_collection(self, tenant: str, collection: str, embedder: ModelInfo) -> None:
        """Create the collection where it does not exist."""
        self._require_up()
        self._collections.setdefault((tenant, collection), _Collection(embedder=embedder)).require(embedder)

    async def upsert(
        self, tenant: str, collection: str, passages: Sequence[Passage], embeddings: Sequence[Embedding]
    ) -> None:
        """Write passages under their ids."""
        found = self._get(tenant, collection)
        size = found.embedder.details["vector_size"]
        pairs = list(zip(passages, embeddings, strict=True))
        if any(len(embedding.dense) != size for embedding in embeddings):
            raise EmbedderMismatch(f"the collection holds vectors of {size} numbers", "collection")
        found.points.update({passage.passage_id: (passage, embedding) for passage, embedding in pairs})

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
        """Compare the query with every passage."""
        found = self._get(tenant, collection)
        found.require(embedder)
        points = {key: pair for key, pair in found.points.items() if passes(pair[0], filters)}
        scores = {
            "dense": {key: float(np.dot(query.dense, pair[1].dense)) for key, pair in points.items()},
            "sparse": {key: score for key, pair in points.items() if (score := _overlap(query.sparse, pair[1].sparse))},
        }
        used = {stage: scores[stage] if mode in ("hybrid", stage) else {} for stage in scores}
        fused = sorted(used.get(mode, {}).items(), key=lambda item: -item[1])
        if mode == "hybrid":
            matches = {key: (points[key][1].sparse, score) for key, score in used["sparse"].items()}
            fused = fuse_scores(used["dense"], word_shares(query.sparse, matches))
        return tuple(
            Hit(
                passage=points[key][0],
                collection=collection,
                score=score,
                scores=StageScores(dense=used["dense"].get(key), sparse=used["sparse"].get(key)),
            )
            for key, score in fused[:top_k]
        )

    async def passages(
        self, tenant: str, collection: str, job_id: str, *, positions: Sequence[int] | None = None
    ) -> tuple[Passage, ...]:
        """Return one job's passages in order of position."""
        wanted = [
            passage
            for passage, _ in self._points(tenant, collection).values()
            if passage.job_id == job_id and (positions is None or passage.position in positions)
        ]
        return tuple(sorted(wanted, key=lambda passage: passage.position))

    async def delete_job(self, tenant: str, collection: str, job_id: str, *, from_position: int = 0) -> None:
        """Remove one job's passages from a position on."""
        points = self._points(tenant, collection)
        for key, (passage, _) in list(points.items()):
            if passage.job_id == job_id and passage.position >= from_position:
                del points[key]

    async def collections(self, tenant: str) -> tuple[CollectionInfo, ...]:
        """List this tenant's collections, sorted by name."""
        self._require_up()
        return tuple(
            CollectionInfo(
                name=name,
                passages=len(found.points),
                embedder=found.embedder.name,
                embedder_hash=found.embedder.checkpoint_hash or "",
                vector_size=int(str(found.embedder.details["vector_size"])),
                languages=tuple(sorted({passage.language for passage, _ in found.points.values()})),
            )
            for (owner, name), found in sorted(self._collections.items())
            if owner == tenant
        )

    async def delete_collection(self, tenant: str, collection: str) -> None:
        """Remove a collection with its passages."""
        self._get(tenant, collection)
        del self._collections[tenant, collection]

    async def begin_replacement(self, tenant: str, collection: str, embedder: ModelInfo) -> bool:
        """Make room for this embedder's vectors."""
        if _identity(self._get(tenant, collection).embedder) == _identity(embedder):
            return False
        self._replacements.setdefault((tenant, collection, embedder.name), _Collection(embedder=embedder))
        return True

    async def scan(
        self, tenant: str, collection: str, *, cursor: str | None, limit: int
    ) -> tuple[tuple[Passage, ...], str | None]:
        """Return the next passages in order of id."""
        points = self._get(tenant, collection).points
        keys = sorted(key for key in points if cursor is None or key > cursor)
        page = keys[:limit]
        return tuple(points[key][0] for key in page), page[-1] if len(keys) > limit else None

    async def fill_replacement(
        self,
        tenant: str,
        collection: str,
        embedder: ModelInfo,
        passages: Sequence[Passage],
        embeddings: Sequence[Embedding],
    ) -> None:
        """Write passages into the replacement."""
        live = self._get(tenant, collection)
        pairs = zip(passages, embeddings, strict=True)
        target = self._replacements.get((tenant, collection, embedder.name), live)
        target.require(embedder)
        target.points.update({passage.passage_id: (passage, embedding) for passage, embedding in pairs})

    async def complete_replacement(
        self, tenant: str, collection: str, embedder: ModelInfo, *, limit: int
    ) -> tuple[Passage, ...]:
        """Switch, or say what the replacement still lacks."""
        old = self._get(tenant, collection)
        if _identity(old.embedder) == _identity(embedder):
            return ()
        new = self._replacements[tenant, collection, embedder.name]
        new.points = {key: pair for key, pair in new.points.items() if key in old.points}
        lacking = [old.points[key][0] for key in sorted(old.points) if not _same(old.points[key], new.points.get(key))]
        if lacking:
            return tuple(lacking[:limit])
        self._collections[tenant, collection] = self._replacements.pop((tenant, collection, embedder.name))
        return ()

    def _get(self, tenant: str, collection: str) -> _Collection:
        self._require_up()
        if (tenant, collection) not in self._collections:
            raise NotFound(f"there is no collection {collection!r}", "collection")
        return self._collections[tenant, collection]

    def _points(self, tenant: str, collection: str) -> dict[str, tuple[Passage, Embedding]]:
        self._require_up()
        found = self._collections.get((tenant, collection))
        return found.points if found else {}

    def _require_up(self) -> None:
        if self.down:
            raise PassageStoreUnavailable("the vector store does not answer")


class FakeReranker:
    """Judges by shared words. Implements Reranker."""

    async def rerank(self, query: str, texts: Sequence[str]) -> tuple[float, ...]:
        """Return the share of the query's words that each text has."""
        wanted = set(re.findall(r"\w+", query.lower()))
        return tuple(len(wanted & set(re.findall(r"\w+", text.lower()))) / (len(wanted) or 1) for text in texts)

    async def info(self) -> ModelInfo:
        """Describe the fake."""
        return ModelInfo(role="reranker", backend="fake", name="shared-words", checkpoint_hash="sha256:fake")


def passes(passage: Passage, filters: SearchFilters) -> bool:
    """Say whether a passage fulfils all conditions."""
    return all(
        (
            not filters.job_ids or passage.job_id in filters.job_ids,
            not filters.speakers or bool(set(filters.speakers) & set(passage.speakers)),
            not filters.languages or passage.language in filters.languages,
            filters.start_s is None or passage.end_s > filters.start_s,
            filters.end_s is None or passage.start_s < filters.end_s,
            all(passage.metadata.get(key) == value for key, value in filters.metadata.items()),
        )
    )


def _overlap(query: SparseVector, passage: SparseVector) -> float:
    weights = dict(zip(passage.indices, passage.values, strict=True))
    return sum(value * weights.get(index, 0.0) for index, value in zip(query.indices, query.values, strict=True))


def _same(one: tuple[Passage, Embedding], other: tuple[Passage, Embedding] | None) -> bool:
    return other is not None and one[0] == other[0]


def _identity(embedder: ModelInfo) -> tuple[str, str | None]:
    return (embedder.name, embedder.checkpoint_hash)
