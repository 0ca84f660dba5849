"""Whether a found passage has anything to do with the question: a search always finds something."""

from pipelines.domain.passage import Hit
from pipelines.steps.weigh_words import content_terms


def is_evidence(question: str, hit: Hit, *, similar: float, relevant: float) -> bool:
    """Say whether an answer may rest on this passage.

    A reranker's judgement, where there is one, decides by ``relevant`` (0–1). Without it the passage is near the
    question by its dense vector (a cosine of at least ``similar``, which depends on the embedder), or half as near
    and shares a content word with it.
    """
    if hit.scores.rerank is not None:
        return hit.scores.rerank >= relevant
    near = hit.scores.dense
    if near is not None and near >= similar:
        return True
    shares = not content_terms(question).isdisjoint(content_terms(hit.passage.text))
    return shares and (near is None or near >= similar / 2)
