"""A question to ranked passages."""

import asyncio
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from pipelines.domain.model import Degradation, EmbedderInfo
from pipelines.domain.passage import Embedding, Hit, Passage, SearchRequest, SearchResult, TextSpan
from pipelines.domain.writing import MARKS, TERMS, is_unspaced
from pipelines.errors import InvalidRequest, RayScribeError
from pipelines.ports.models import Embedder, Reranker
from pipelines.ports.passages import PassageStore
from pipelines.retrieval.ports import MAX_QUERY_CHARACTERS
from pipelines.retrieval.words import content_terms, split_terms

MAX_TOP_K = 100
MAX_COLLECTIONS = 20

RERANK_CANDIDATES = 30
"""How many hits a reranker judges, at least: more finds more, and costs one model pass each."""


async def search_passages(
    embedder: Embedder,
    store: PassageStore,
    tenant: str,
    request: SearchRequest,
    *,
    reranker: Reranker | None = None,
) -> SearchResult:
    """Search one or several collections of a tenant, and rerank, highlight and add neighbours as asked.

    A reranker that is missing or fails costs the reranking, not the search: the result then says so in ``degraded``.
    Raises InvalidRequest naming the field, NotFound, EmbedderMismatch, PassageStoreUnavailable, ModelUnavailable.
    """
    check_search(request)
    vector, model = await asyncio.gather(embedder.embed_query(request.query), embedder.info())
    hits = await _retrieve(store, tenant, request, vector, model)
    degraded: tuple[Degradation, ...] = ()
    if request.rerank:
        hits, degraded = await _rerank(reranker, request.query, hits)
    hits = hits[: request.top_k]
    if request.highlight:
        hits = tuple(replace(hit, highlights=find_highlights(request.query, hit.passage.text)) for hit in hits)
    if request.neighbours:
        hits = await _with_neighbours(store, tenant, hits)
    return SearchResult(hits=hits, mode=request.mode, degraded=degraded)


def check_search(request: SearchRequest) -> None:
    """Raise InvalidRequest, naming the field, for what cannot be searched."""
    if not request.query.strip():
        raise InvalidRequest("the query is empty", "query")
    if len(request.query) > MAX_QUERY_CHARACTERS:
        raise InvalidRequest(f"the query has more than {MAX_QUERY_CHARACTERS} characters", "query")
    if not 1 <= request.top_k <= MAX_TOP_K:
        raise InvalidRequest(f"top_k must be between 1 and {MAX_TOP_K}", "top_k")
    if not 1 <= len(request.collections) <= MAX_COLLECTIONS:
        raise InvalidRequest(f"between 1 and {MAX_COLLECTIONS} collections can be searched at once", "collection")
    start_s, end_s = request.filters.start_s, request.filters.end_s
    if start_s is not None and end_s is not None and start_s >= end_s:
        raise InvalidRequest("the time filter ends before it starts", "filters")


async def _retrieve(
    store: PassageStore, tenant: str, request: SearchRequest, vector: Embedding, model: EmbedderInfo
) -> tuple[Hit, ...]:
    top_k = max(request.top_k, RERANK_CANDIDATES) if request.rerank else request.top_k
    found = await asyncio.gather(
        *(
            store.search(tenant, name, vector, mode=request.mode, top_k=top_k, filters=request.filters, embedder=model)
            for name in dict.fromkeys(request.collections)
        )
    )
    return merge_hits(found, top_k=top_k)


async def _rerank(
    reranker: Reranker | None, query: str, hits: Sequence[Hit]
) -> tuple[tuple[Hit, ...], tuple[Degradation, ...]]:
    if reranker is None:
        return tuple(hits), (_not_reranked("this deployment has no reranker"),)
    if not hits:
        return (), ()
    try:
        scores = await reranker.rerank(query, [hit.passage.text for hit in hits])
    except RayScribeError as error:
        return tuple(hits), (_not_reranked(error.message),)
    judged = [
        replace(hit, score=score, scores=replace(hit.scores, rerank=score))
        for hit, score in zip(hits, scores, strict=True)
    ]
    return tuple(sorted(judged, key=lambda hit: -hit.score)), ()


def _not_reranked(reason: str) -> Degradation:
    return Degradation(stage="answer", wanted="reranker", used="retrieval order", reason=reason)


async def _with_neighbours(store: PassageStore, tenant: str, hits: Sequence[Hit]) -> tuple[Hit, ...]:
    """Read the neighbours of all hits, one request a job."""
    jobs = dict.fromkeys((hit.collection, hit.passage.job_id) for hit in hits)
    read = await asyncio.gather(
        *(store.passages(tenant, *job, positions=_beside([hit for hit in hits if _job(hit) == job])) for job in jobs)
    )
    beside: dict[tuple[str, str, int], Passage] = {
        (*job, passage.position): passage for job, passages in zip(jobs, read, strict=True) for passage in passages
    }
    return tuple(
        replace(
            hit,
            before=beside.get((*_job(hit), hit.passage.position - 1)),
            after=beside.get((*_job(hit), hit.passage.position + 1)),
        )
        for hit in hits
    )


def _job(hit: Hit) -> tuple[str, str]:
    return (hit.collection, hit.passage.job_id)


def _beside(hits: Sequence[Hit]) -> tuple[int, ...]:
    positions = chain.from_iterable((hit.passage.position - 1, hit.passage.position + 1) for hit in hits)
    return tuple(sorted({position for position in positions if position >= 0}))


def merge_hits(found: Sequence[Sequence[Hit]], *, top_k: int) -> tuple[Hit, ...]:
    """Return the best ``top_k`` of all collections, best first.

    Scores of one mode and one embedder can be compared across collections: cosines are absolute, and fused scores say
    which share of the query's words a passage has. Only sparse scores depend, a little, on what else a collection
    holds, because a word is as rare as it is there.
    """
    return tuple(sorted(chain.from_iterable(found), key=lambda hit: -hit.score)[:top_k])


_APOSTROPHE = re.compile(rf"['’]\w[\w{MARKS}]*")


def find_highlights(query: str, text: str) -> tuple[TextSpan, ...]:
    """Return the words of ``text`` that the query asks for, as character offsets, sorted.

    Words are compared as the sparse vectors compare them (case, plural; pairs of characters where a script has no
    spaces), function words are left out, and words that follow each other with at most a space between them make one
    span.
    """
    wanted = content_terms(query)
    spans: list[TextSpan] = []
    for start, end in _found(wanted, text):
        if spans and text[spans[-1].end : start] in ("", " "):
            spans[-1] = TextSpan(start=spans[-1].start, end=end)
        else:
            spans.append(TextSpan(start=start, end=end))
    return tuple(spans)


def _found(wanted: frozenset[str], text: str) -> Iterator[tuple[int, int]]:
    ends = 0
    for match in TERMS.finditer(text):
        start, end = match.span()
        if start < ends:  # the other half of a word with an apostrophe
            continue
        if is_unspaced(match.group()):
            yield from _pairs(wanted, text, start, end)
            continue
        while apostrophe := _APOSTROPHE.match(text, end):
            end = apostrophe.end()
        ends = end
        if not wanted.isdisjoint(split_terms(text[start:end])):
            yield start, end


def _pairs(wanted: frozenset[str], text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs of characters that are asked for, without what the pair before has already."""
    done = start
    for place in range(start, max(start + 1, end - 1)):
        last = min(place + 2, end)
        if unicodedata.category(text[place]).startswith("M"):
            continue  # a mark goes with the character before it
        if not wanted.isdisjoint(split_terms(text[place:last])):
            yield max(place, done), last
            done = last
