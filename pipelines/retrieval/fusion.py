"""Nearness by meaning and by words made into one score.

A convex combination of scores (Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2023)
rather than of ranks: reciprocal ranks count the best of many bad matches as much as a good one, and here, where a
question often shares no telling word with its answer, that cost a third of nDCG (bench/README.md).

What words contribute is which of the query's a passage has, not how often or in how short a text: passages that have
the same ones are told apart by meaning, and a lexical score's small differences would drown it.
"""

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from pipelines.domain.passage import SparseVector

KeyT = TypeVar("KeyT", bound=Hashable)

WORDS_WEIGHT = 0.75
"""What a passage with all of the query's words gets, next to a cosine similarity of 1.0 (bench/README.md)."""

WORDS_EXPONENT = 3
"""Half of the words count an eighth: a part of them is often an accident."""


def fuse_scores(dense: Mapping[KeyT, float], words: Mapping[KeyT, float]) -> list[tuple[KeyT, float]]:
    """Return everything that either stage found with its fused score, best first.

    ``dense``: cosine similarities. ``words``: shares of the query's words, 0–1. The result is 1.0 for a passage that
    says exactly the query. A passage that the dense stage did not return counts as being as far as the last one that
    it did. Ties keep the order in which things were found.
    """
    farthest = min(dense.values(), default=0.0)
    scores = {
        key: dense.get(key, farthest) + WORDS_WEIGHT * words.get(key, 0.0) ** WORDS_EXPONENT for key in (*dense, *words)
    }
    return sorted(((key, score / (1 + WORDS_WEIGHT)) for key, score in scores.items()), key=lambda item: -item[1])


def word_shares(query: SparseVector, matches: Mapping[KeyT, tuple[SparseVector, float]]) -> dict[KeyT, float]:
    """Return which share of the query's words each passage has, 0–1, rare and telling words weighing more.

    ``matches``: passages as the sparse stage found them, with their scores. A word that none of them has weighs as
    much as the one that weighs most: as far as anybody knows, it is rarer than all.
    """
    if not matches:
        return {}
    place = {index: column for column, index in enumerate(query.indices)}
    table = np.zeros((len(matches), len(place)))
    for row, (passage, _) in enumerate(matches.values()):
        for index, value in zip(passage.indices, passage.values, strict=True):
            if index in place:
                table[row, place[index]] = value
    weights = _weights(query, table, np.array([score for _, score in matches.values()]))
    total = float(weights.sum())
    shares = (table > 0) @ weights / total if total > 0 else np.zeros(len(matches))
    return dict(zip(matches, np.clip(shares, 0.0, 1.0).tolist(), strict=True))


def _weights(query: SparseVector, table: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return what the store multiplied each word of the query with: its weight there, and how rare it is here.

    Only the store knows how rare words are; but each score is the sum of these products over the words of a passage,
    so that the scores of a few passages give them away.
    """
    given = np.array(query.values)
    found, *_ = np.linalg.lstsq(table, scores)
    rarity = np.maximum(found, 0.0) / given
    seen = (table > 0).any(axis=0)
    rarity[~seen] = rarity[seen].max(initial=0.0)
    return np.asarray(given * rarity)
