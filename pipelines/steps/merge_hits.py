"""The hits of several collections ranked together."""

from collections.abc import Sequence
from itertools import chain

from pipelines.domain.passage import Hit


def merge_hits(found: Sequence[Sequence[Hit]], *, top_k: int) -> tuple[Hit, ...]:
    """Return the best ``top_k`` of all collections, best first.

    Scores of one mode and one embedder can be compared across collections: cosines are absolute, and fused scores say
    which share of the query's words a passage has. Only sparse scores depend, a little, on what else a collection
    holds, because a word is as rare as it is there.
    """
    return tuple(sorted(chain.from_iterable(found), key=lambda hit: -hit.score)[:top_k])
