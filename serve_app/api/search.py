"""Finding passages."""

import time
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.domain.passage import SearchFilters, SearchMode, SearchRequest, SearchResult
from pipelines.errors import InvalidRequest, RayScribeError
from pipelines.flows.search_passages import search_passages
from serve_app.api.authentication import Searcher
from serve_app.api.bodies import RequestBody
from serve_app.api.context import ServicesOf
from serve_app.api.documentation import error_answers
from serve_app.api.job_fields import NAME_PATTERN
from serve_app.api.search_shapes import SearchBody, search_body
from serve_app.services import Services
from serve_app.settings import LimitSettings

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
    return search_body(fields.query, await _measured(services, caller.tenant, request))


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


async def _measured(services: Services, tenant: str, request: SearchRequest) -> SearchResult:
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
