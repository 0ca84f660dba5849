"""How good a ranking is when one moment of one recording is the right answer."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean


def recall_at(ranks: Sequence[int | None], depth: int) -> float:
    """Return the share of questions whose first right passage stands among the first ``depth`` (ranks from 1)."""
    return fmean(rank is not None and rank <= depth for rank in ranks)


def mrr_at(ranks: Sequence[int | None], depth: int) -> float:
    """Return the mean of 1 / rank of the first right passage; 0 for a question without one in reach."""
    return fmean(1 / rank if rank is not None and rank <= depth else 0.0 for rank in ranks)


def ndcg_at(ranks: Sequence[int | None], depth: int) -> float:
    """Return normalized discounted cumulative gain with one relevant passage (Järvelin and Kekäläinen 2002)."""
    return fmean(1 / math.log2(rank + 1) if rank is not None and rank <= depth else 0.0 for rank in ranks)


def measures(ranks: Sequence[int | None]) -> Mapping[str, float]:
    """Return all of them, by the names that the tables use."""
    return {"recall@5": recall_at(ranks, 5), "MRR@10": mrr_at(ranks, 10), "nDCG@10": ndcg_at(ranks, 10)}
