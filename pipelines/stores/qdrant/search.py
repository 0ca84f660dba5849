"""One search of a collection: the request of each stage, and their answers made into one ranking.

Qdrant's own fusion (prefetch, then RRF or DBSF) works on ranks or on each list's spread, and returns the fused score
alone. A ranking that can be explained needs the score of each stage, and score fusion finds more (bench/README.md).
So both stages go into one batch request, and ``retrieval/fusion.py`` joins them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from qdrant_client import models

from pipelines.domain.passage import Embedding, Hit, SearchFilters, SearchMode, SparseVector, StageScores
from pipelines.retrieval.fusion import fuse_scores, word_shares
from pipelines.stores.qdrant.records import DENSE, SPARSE, to_filter, to_passage, to_sparse

CANDIDATES = 50
"""How deep each stage of a hybrid search looks, at least: the fused list can only hold what a stage saw."""


def stage_requests(
    query: Embedding, *, mode: SearchMode, top_k: int, filters: SearchFilters
) -> dict[str, models.QueryRequest]:
    """Return the searches to send, by stage; a query without a single word has no sparse one."""
    vectors: dict[str, Any] = {}
    if mode in ("hybrid", "dense"):
        vectors[DENSE] = list(query.dense)
    if mode in ("hybrid", "sparse") and query.sparse.indices:
        vectors[SPARSE] = to_sparse(query.sparse)
    depth = max(CANDIDATES, 2 * top_k) if mode == "hybrid" else top_k
    condition = to_filter(filters)
    return {
        stage: models.QueryRequest(
            query=vector,
            using=stage,
            filter=condition,
            limit=depth,
            with_payload=True,
            with_vector=[SPARSE] if stage == SPARSE and mode == "hybrid" else False,
        )
        for stage, vector in vectors.items()
    }


def rank_points(
    stages: Mapping[str, Sequence[models.ScoredPoint]],
    query: Embedding,
    *,
    collection: str,
    mode: SearchMode,
    top_k: int,
) -> tuple[Hit, ...]:
    """Return the best ``top_k`` of what the stages found; in hybrid mode with their scores fused."""
    payloads = {point.id: point.payload or {} for points in stages.values() for point in points}
    scores = {stage: {point.id: point.score for point in points} for stage, points in stages.items()}
    ranked = list(scores.get(mode, {}).items())
    if mode == "hybrid":
        matches = {point.id: (_words(point), point.score) for point in stages.get(SPARSE, ())}
        ranked = fuse_scores(scores.get(DENSE, {}), word_shares(query.sparse, matches))
    return tuple(
        Hit(
            passage=to_passage(payloads[key]),
            collection=collection,
            score=score,
            scores=StageScores(dense=scores.get(DENSE, {}).get(key), sparse=scores.get(SPARSE, {}).get(key)),
        )
        for key, score in ranked[:top_k]
    )


def _words(point: models.ScoredPoint) -> SparseVector:
    """Return the words of a found passage, which the request asked for."""
    vector = point.vector[SPARSE] if isinstance(point.vector, dict) else None
    if not isinstance(vector, models.SparseVector):
        return SparseVector(indices=(), values=())
    return SparseVector(indices=tuple(vector.indices), values=tuple(vector.values))
