"""Nearness by meaning and by words made into one score.

A convex combination of scores (Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2023)
rather than of ranks: reciprocal ranks count the best of many bad matches as much as a good one, and here, where a
question often shares no telling word with its answer, that cost a third of nDCG (bench/README.md).
"""

from collections.abc import Hashable, Mapping
from typing import TypeVar

from pipelines.domain.passage import SparseVector

KeyT = TypeVar("KeyT", bound=Hashable)

WORDS_WEIGHT = 1.5
"""What a passage with all of the query's words gets, next to a cosine similarity of 1.0."""

WORDS_EXPONENT = 3
"""Half of the words count an eighth: a part of them is often an accident."""


def fuse_scores(dense: Mapping[KeyT, float], sparse: Mapping[KeyT, float], *, ideal: float) -> list[tuple[KeyT, float]]:
    """Return everything that either stage found with its fused score, best first.

    ``dense``: cosine similarities. ``sparse``: any scale; ``ideal`` is what a passage with all words of the query
    would get on it. The result is 1.0 for a passage that says exactly the query. A passage that the dense stage did
    not return counts as being as far as the last one that it did. Ties keep the order in which things were found.
    """
    farthest = min(dense.values(), default=0.0)
    scores = {
        key: dense.get(key, farthest) + WORDS_WEIGHT * _share(sparse.get(key, 0.0), ideal) ** WORDS_EXPONENT
        for key in (*dense, *sparse)
    }
    return sorted(((key, score / (1 + WORDS_WEIGHT)) for key, score in scores.items()), key=lambda item: -item[1])


def ideal_score(query: SparseVector, passage: SparseVector, score: float) -> float:
    """Return what a passage with all words of the query would score, from one that has some and scored ``score``.

    Only the store knows how rare each word is. So the score of the best match is scaled up by the share of the query
    that it matches, each word weighing its squared weight in the query.
    """
    there = set(passage.indices)
    weights = {index: value * value for index, value in zip(query.indices, query.values, strict=True)}
    matched = sum(weight for index, weight in weights.items() if index in there)
    return score * sum(weights.values()) / matched if matched else score


def _share(score: float, ideal: float) -> float:
    return min(max(score / ideal, 0.0), 1.0) if ideal > 0 else 0.0
