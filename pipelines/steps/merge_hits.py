"""The hits of several collections ranked together."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipelines.domain.passage import Hit, SearchMode
from pipelines.steps.fuse_rankings import fuse_rankings


def merge_hits(found: Sequence[Sequence[Hit]], *, mode: SearchMode, top_k: int) -> tuple[Hit, ...]:
    """Return the best ``top_k`` of all collections, best first.

    A fused score only says how a passage stands within its collection: the best of an irrelevant collection has it
    too. What can be compared across collections of one embedder are the scores of the stages, so hybrid rankings are
    fused again, over all hits by dense and by sparse score.
    """
    if len(found) == 1:
        return tuple(found[0][:top_k])
    hits = [hit for collection in found for hit in collection]
    if mode != "hybrid":
        return tuple(sorted(hits, key=lambda hit: -hit.score)[:top_k])
    rankings = [_by(hits, "dense"), _by(hits, "sparse")]
    fused = fuse_rankings([[_key(hit) for hit in ranking] for ranking in rankings])
    by_key = {_key(hit): hit for hit in hits}
    return tuple(replace(by_key[key], score=score) for key, score in fused[:top_k])


def _by(hits: Iterable[Hit], stage: str) -> list[Hit]:
    seen = [(getattr(hit.scores, stage), hit) for hit in hits]
    return [hit for score, hit in sorted(((s, h) for s, h in seen if s is not None), key=lambda pair: -pair[0])]


def _key(hit: Hit) -> tuple[str, str]:
    return (hit.collection, hit.passage.passage_id)
