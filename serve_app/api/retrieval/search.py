"""Search: fields, bodies, hits."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.domain.encoding import to_plain
from pipelines.domain.passage import Hit, Passage, SearchFilters, SearchMode, SearchRequest, SearchResult, StageScores
from pipelines.errors import InvalidRequest, RayScribeError
from pipelines.retrieval.search import search_passages
from serve_app.api.edge.authentication import Searcher
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import RequestBody, ServicesOf
from serve_app.api.edge.shapes import DegradationBody, job_path
from serve_app.api.jobs.fields import NAME_PATTERN
from serve_app.services import Services
from serve_app.settings import LimitSettings


class StageScoresBody(BaseModel):
    """A score per stage of the search; null where the stage did not see the passage."""

    dense: float | None
    sparse: float | None
    rerank: float | None


class TextSpanBody(BaseModel):
    """Characters of a text."""

    start: int
    end: int


class PassageBody(BaseModel):
    """A stretch of a transcript, and the address at which it can be heard."""

    passage_id: str
    job_id: str
    recording: str
    start_s: float
    end_s: float
    speakers: list[str]
    language: str
    text: str
    metadata: dict[str, str]
    revision: int
    """Of the transcript that it was cut from."""
    audio: str


class HitBody(PassageBody):
    """One found passage."""

    score: float
    scores: StageScoresBody
    collection: str
    highlights: list[TextSpanBody]
    before: PassageBody | None
    after: PassageBody | None


class SearchBody(BaseModel):
    """What was found, best first."""

    query: str
    mode: str
    degraded: list[DegradationBody]
    hits: list[HitBody]


def search_body(query: str, result: SearchResult) -> SearchBody:
    """Show what a search found."""
    return SearchBody(
        query=query,
        mode=result.mode,
        degraded=[DegradationBody(**to_plain(entry)) for entry in result.degraded],
        hits=[hit_body(hit) for hit in result.hits],
    )


def hit_body(hit: Hit) -> HitBody:
    """Show one found passage."""
    return HitBody(
        **_passage_fields(hit.passage),
        score=hit.score,
        scores=_scores_body(hit.scores),
        collection=hit.collection,
        highlights=[TextSpanBody(**to_plain(span)) for span in hit.highlights],
        before=passage_body(hit.before) if hit.before else None,
        after=passage_body(hit.after) if hit.after else None,
    )


def passage_body(passage: Passage) -> PassageBody:
    """Show a passage."""
    return PassageBody(**_passage_fields(passage))


def audio_address(job_id: str, start_s: float, end_s: float) -> str:
    """Return where a stretch of a recording can be heard (a media fragment: W3C Media Fragments URI 1.0)."""
    return f"{job_path(job_id)}/audio#t={round(start_s, 3)},{round(end_s, 3)}"


def _scores_body(scores: StageScores) -> StageScoresBody:
    return StageScoresBody(dense=scores.dense, sparse=scores.sparse, rerank=scores.rerank)


def _passage_fields(passage: Passage) -> dict[str, Any]:
    return {
        "passage_id": passage.passage_id,
        "job_id": passage.job_id,
        "recording": passage.recording,
        "start_s": passage.start_s,
        "end_s": passage.end_s,
        "speakers": list(passage.speakers),
        "language": passage.language,
        "text": passage.text,
        "metadata": dict(passage.metadata),
        "revision": passage.revision,
        "audio": audio_address(passage.job_id, passage.start_s, passage.end_s),
    }


router = APIRouter(tags=["search"])
CollectionName = Annotated[str, Field(pattern=NAME_PATTERN)]
Values = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=100)]


class FilterFields(RequestBody):
    """All given conditions must hold; values within one are alternatives."""

    job_ids: Values = Field(default=[])
    speakers: Values = Field(default=[])
    languages: Values = Field(default=[])
    start_s: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Passages that end after it.")
    end_s: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Passages that start before it.")
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=1_000)]], Field(max_length=32)
    ] = Field(default={})

    def to_filters(self) -> SearchFilters:
        """Return the flow's record."""
        return SearchFilters(
            job_ids=tuple(self.job_ids),
            speakers=tuple(self.speakers),
            languages=tuple(self.languages),
            start_s=self.start_s,
            end_s=self.end_s,
            metadata=self.metadata,
        )


class CollectionsField(RequestBody):
    """Where to look: one collection, or several."""

    collection: CollectionName | None = None
    collections: Annotated[list[CollectionName], Field(max_length=20)] = Field(default=[])

    @model_validator(mode="after")
    def _one_or_several(self) -> "CollectionsField":
        if bool(self.collection) == bool(self.collections):
            raise PydanticCustomError("collections", "give either collection or collections")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All collections asked for."""
        return (self.collection,) if self.collection else tuple(self.collections)


class SearchFields(CollectionsField):
    """A search."""

    query: str = Field(min_length=1)
    mode: Literal["hybrid", "dense", "sparse"] = "hybrid"
    top_k: int = Field(default=10, ge=1)
    filters: FilterFields = FilterFields()
    rerank: bool = Field(default=False, description="Judge the best hits again, where this deployment has a reranker.")
    neighbours: bool = Field(default=False, description="Give the passage before and after each hit.")
    highlight: bool = Field(default=False, description="Say where the query's words stand in each text.")


@router.post("/v1/search", summary="Find passages by meaning and by words", responses=error_answers(404, 409))
async def search(fields: SearchFields, caller: Searcher, services: ServicesOf) -> SearchBody:
    """Search one or several collections; each hit can be heard at its `audio` address."""
    request = to_request(fields, services.settings.limits)
    return search_body(fields.query, await measured_search(services, caller.tenant, request))


def to_request(fields: SearchFields, limits: LimitSettings) -> SearchRequest:
    """Return the flow's record. Raises InvalidRequest for what is beyond this deployment's limits."""
    if fields.top_k > limits.search_top_k:
        raise InvalidRequest(f"top_k is at most {limits.search_top_k}", "top_k")
    if len(fields.query) > limits.query_characters:
        raise InvalidRequest(f"a query has at most {limits.query_characters:,} characters", "query")
    return SearchRequest(
        query=fields.query,
        collections=fields.names,
        mode=fields.mode,
        top_k=fields.top_k,
        filters=fields.filters.to_filters(),
        rerank=fields.rerank,
        neighbours=fields.neighbours,
        highlight=fields.highlight,
    )


async def measured_search(services: Services, tenant: str, request: SearchRequest) -> SearchResult:
    """Search, and count how that went. Raises as search_passages does."""
    started_s = time.perf_counter()
    outcome = "internal_error"
    try:
        result = await search_passages(
            services.question_embedder, services.passages, tenant, request, reranker=services.reranker
        )
        outcome = "ok"
        return result
    except RayScribeError as error:
        outcome = error.code
        raise
    finally:
        mode: SearchMode = request.mode
        services.metrics.count("searches", mode=mode, outcome=outcome)
        services.metrics.observe("search_seconds", time.perf_counter() - started_s)
