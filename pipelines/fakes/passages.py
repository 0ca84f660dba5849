"""Passages in memory, searched exactly, and a reranker that counts shared words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.domain.model import EmbedderInfo, RerankerInfo
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
from pipelines.errors import Conflict, EmbedderMismatch, NotFound, PassageStoreUnavailable
from pipelines.ports.passages import Replacement, ReplacementState
from pipelines.retrieval.fusion import fuse_scores, word_shares
from pipelines.retrieval.passages import same_passage


@dataclass(slots=True, kw_only=True)
class _Collection:
    embedder: EmbedderInfo
    points: dict[str, tuple[Passage, Embedding]] = field(default_factory=dict)
    token: str | None = None
    """Of the replacement that this was."""
    copied: set[str] = field(default_factory=set)
    """Ids of what a reindexing wrote, and nobody since."""

    def describe(self, name: str) -> CollectionInfo:
        return CollectionInfo(
            name=name,
            passages=len(self.points),
            embedder=self.embedder.name,
            embedder_hash=self.embedder.checkpoint_hash or "",
            vector_size=self.embedder.vector_size,
            languages=tuple(sorted({passage.language for passage, _ in self.points.values()})),
        )

    def require(self, embedder: EmbedderInfo) -> None:
        if _identity(self.embedder) != _identity(embedder):
            raise EmbedderMismatch(
                f"the collection holds vectors of {self.embedder.name}, not of {embedder.name}", "collection"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """A reindexing: the target is hidden until it is switched, then the source is."""

    source: _Collection
    target: _Collection


class InMemoryPassageStore:
    """Implements PassageStore and CollectionReplacer with dictionaries."""

    def __init__(self) -> None:
        self.down = False
        """While True, every call raises PassageStoreUnavailable, as a stopped server does."""
        self._collections: dict[tuple[str, str], _Collection] = {}
        self._moves: dict[tuple[str, str], _Move] = {}

    async def ensure_collection(self, tenant: str, collection: str, embedder: EmbedderInfo) -> None:
        """Create the collection where it does not exist."""
        self._require_up()
        self._collections.setdefault((tenant, collection), _Collection(embedder=embedder)).require(embedder)

    async def upsert(
        self,
        tenant: str,
        collection: str,
        passages: Sequence[Passage],
        embeddings: Sequence[Embedding],
        *,
        embedder: EmbedderInfo,
    ) -> None:
        """Write passages under their ids."""
        found = self._get(tenant, collection)
        found.require(embedder)
        pairs = _paired(found, passages, embeddings)
        found.points.update(pairs)
        found.copied -= pairs.keys()

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
        self._require_up()
        move = self._moves.get((tenant, collection))
        for points in [self._points(tenant, collection), *([move.source.points, move.target.points] if move else [])]:
            for key, (passage, _) in list(points.items()):
                if passage.job_id == job_id and passage.position >= from_position:
                    del points[key]

    async def collections(self, tenant: str) -> tuple[CollectionInfo, ...]:
        """List this tenant's collections, sorted by name."""
        self._require_up()
        return tuple(
            found.describe(name) for (owner, name), found in sorted(self._collections.items()) if owner == tenant
        )

    async def collection(self, tenant: str, collection: str) -> CollectionInfo:
        """Describe one collection."""
        return self._get(tenant, collection).describe(collection)

    async def delete_collection(self, tenant: str, collection: str) -> None:
        """Remove a collection with its passages."""
        self._get(tenant, collection)
        del self._collections[tenant, collection]
        self._moves.pop((tenant, collection), None)

    async def drop_replacement(self, tenant: str, collection: str, token: str) -> None:
        """Forget a replacement that is not in use."""
        self._require_up()
        move = self._moves.get((tenant, collection))
        if move and move.target.token == token and move.target is not self._collections[tenant, collection]:
            del self._moves[tenant, collection]

    async def begin_replacement(self, replacement: Replacement) -> ReplacementState:
        """Make room for this embedder's vectors."""
        key = replacement.tenant, replacement.collection
        live = self._get(*key)
        move = self._moves.get(key)
        known = move is not None and move.target.token == replacement.token
        if _identity(live.embedder) == _identity(replacement.embedder):
            if known:
                return ReplacementState.SWITCHED
            self._moves.pop(key, None)
            return ReplacementState.NEEDLESS
        if move is None or not known or _identity(move.target.embedder) != _identity(replacement.embedder):
            target = _Collection(embedder=replacement.embedder, token=replacement.token)
            move = self._moves[key] = _Move(source=live, target=target)
        return ReplacementState.RESUMED if move.target.points else ReplacementState.BEGUN

    async def find_lacking(
        self, replacement: Replacement, *, cursor: str | None, limit: int
    ) -> tuple[tuple[Passage, ...], str | None]:
        """Compare the next passages in order of id."""
        if (move := self._move(replacement)) is None:
            return (), None
        source, target = move.source.points, move.target
        keys = sorted(key for key in source if cursor is None or key >= cursor)
        page, following = keys[:limit], next(iter(keys[limit:]), None)
        switched = self._is_switched(replacement)
        if not switched:
            for key in [key for key in target.points if key not in source]:
                del target.points[key]
        lacking = tuple(source[key][0] for key in page if _is_lacking(source[key][0], target, key, switched))
        return lacking, following

    async def fill_replacement(
        self, replacement: Replacement, passages: Sequence[Passage], embeddings: Sequence[Embedding]
    ) -> None:
        """Write passages that the collection still has."""
        if (move := self._move(replacement)) is None:
            raise _refusal()
        target, switched = move.target, self._is_switched(replacement)
        for key, pair in _paired(target, passages, embeddings).items():
            if key in move.source.points and not (switched and key in target.points and key not in target.copied):
                target.points[key] = pair
                target.copied.add(key)

    async def switch_replacement(self, replacement: Replacement) -> None:
        """Let the replacement take the collection's place."""
        if (move := self._move(replacement)) is not None:
            self._collections[replacement.tenant, replacement.collection] = move.target

    async def complete_replacement(self, replacement: Replacement) -> None:
        """Forget the old vectors."""
        self._move(replacement)
        if not self._is_switched(replacement):
            raise Conflict("this reindexing has not switched the collection yet", "collection")
        self._moves.pop((replacement.tenant, replacement.collection), None)

    def _move(self, replacement: Replacement) -> _Move | None:
        """Return this reindexing's move; None where it is completed."""
        key = replacement.tenant, replacement.collection
        self._get(*key)
        move = self._moves.get(key)
        if move is not None and move.target.token == replacement.token:
            return move
        if not self._is_switched(replacement):
            raise _refusal()
        return None

    def _is_switched(self, replacement: Replacement) -> bool:
        return self._get(replacement.tenant, replacement.collection).token == replacement.token

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

    async def info(self) -> RerankerInfo:
        """Describe the fake."""
        return RerankerInfo(backend="fake", name="shared-words", checkpoint_hash="sha256:fake")


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


def _paired(
    target: _Collection, passages: Sequence[Passage], embeddings: Sequence[Embedding]
) -> dict[str, tuple[Passage, Embedding]]:
    pairs = {pair[0].passage_id: pair for pair in zip(passages, embeddings, strict=True)}
    size = target.embedder.vector_size
    if any(len(embedding.dense) != size for embedding in embeddings):
        raise EmbedderMismatch(f"the collection holds vectors of {size} numbers", "collection")
    return pairs


def _is_lacking(original: Passage, target: _Collection, key: str, switched: bool) -> bool:
    copy = target.points.get(key)
    if copy is None:
        return True
    return not (switched and key not in target.copied) and not same_passage(original, copy[0])


def _refusal() -> Conflict:
    return Conflict("this reindexing was ended, or another one has taken its place", "collection")


def _identity(embedder: EmbedderInfo) -> tuple[str, str | None]:
    return (embedder.name, embedder.checkpoint_hash)
