"""Several rankings of the same things made into one."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)

RANK_CONSTANT = 60
"""k of reciprocal rank fusion: how little the very first ranks count more than those after them (Cormack 2009)."""


def fuse_rankings(
    rankings: Sequence[Sequence[KeyT]], *, weights: Sequence[float] | None = None, constant: int = RANK_CONSTANT
) -> list[tuple[KeyT, float]]:
    """Fuse by reciprocal rank: each ranking gives its n-th thing (from 1) ``weight / (constant + n)``.

    Returns things with their sums, best first; 1.0 is the sum of a thing that every ranking puts first. Ties keep the
    order of first appearance. Source: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion …", SIGIR 2009.
    """
    weights = weights or [1.0] * len(rankings)
    best = sum(weights) / (constant + 1)
    sums: dict[KeyT, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, key in enumerate(ranking, start=1):
            sums[key] = sums.get(key, 0.0) + weight / (constant + rank)
    return sorted(((key, total / best) for key, total in sums.items()), key=lambda item: -item[1])
