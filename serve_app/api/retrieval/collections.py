"""A tenant's collections."""

import asyncio
from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from pipelines.domain.job import JobKind, JobRequest
from pipelines.domain.passage import CollectionInfo
from pipelines.errors import NotFound
from pipelines.jobs.erasures import name_hash
from pipelines.jobs.submit import new_job_id, require_no_reindexing
from pipelines.ports.passages import PassageStore
from serve_app.api.edge.authentication import JobWriter, Searcher
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import RequestBody, ServicesOf
from serve_app.api.jobs.fields import IdempotencyKey
from serve_app.api.jobs.submission import ACCEPTED, PriorityName, accepted, submit_request
from serve_app.services import Services

router = APIRouter(tags=["search"])
Name = Annotated[str, Path(description="Name of the collection.", max_length=200)]


class CollectionBody(BaseModel):
    """A collection."""

    object: str = "collection"
    name: str
    passages: int
    embedder: str
    embedder_hash: str
    vector_size: int
    languages: list[str]
    damaged: bool
    """Its files cannot be read: nothing in it is counted or found until it is put back from a backup, or deleted."""


class CollectionList(BaseModel):
    """All collections of a tenant, by name."""

    object: str = "list"
    data: list[CollectionBody]


class ReindexFields(RequestBody):
    """How the job is to be done."""

    priority: PriorityName = "normal"


@router.get("/v1/collections", summary="List collections", responses=error_answers())
async def list_collections(caller: Searcher, services: ServicesOf) -> CollectionList:
    """List the collections of this key's tenant."""
    return CollectionList(data=[_body(found) for found in await services.passages.collections(caller.tenant)])


@router.get("/v1/collections/{name}", summary="One collection", responses=error_answers(404))
async def get_collection(name: Name, caller: Searcher, services: ServicesOf) -> CollectionBody:
    """Show size, embedding model and languages."""
    return _body(await find_collection(services, caller.tenant, name))


@router.delete("/v1/collections/{name}", status_code=204, summary="Delete a collection", responses=error_answers(404))
async def delete_collection(name: Name, caller: JobWriter, services: ServicesOf) -> Response:
    """Remove a collection with its passages; the recordings and transcripts stay."""
    # Looked up first, so that a name no collection can have is unknown, and not a fault of the store.
    count = (await find_collection(services, caller.tenant, name)).passages
    begun = await services.erasures.begin(caller.tenant, "collection", name_hash(caller.tenant, name), "asked")
    await services.passages.delete_collection(caller.tenant, name)
    await services.erasures.complete(begun, artifacts=0, passages=count)
    return Response(status_code=204, headers={"location": f"/v1/erasures/{begun.erasure_id}"})


@router.post(
    "/v1/collections/{name}/reindex",
    status_code=202,
    summary="Move a collection to the embedder that is loaded now",
    response_class=JSONResponse,
    responses={**ACCEPTED, **error_answers(404, 409)},
)
async def reindex_collection(
    name: Name,
    caller: JobWriter,
    services: ServicesOf,
    idempotency_key: IdempotencyKey,
    fields: ReindexFields | None = None,
) -> Response:
    """Acknowledge a job that embeds all passages anew; searches use the old vectors until it switches.

    409 while another job does it already.
    """
    await find_collection(services, caller.tenant, name)
    await require_no_reindexing(services.jobs, caller.tenant, name, new_job_id(caller.tenant, idempotency_key))
    priority = (fields or ReindexFields()).priority
    request = JobRequest(features=(), collection=name, priority=priority)
    return accepted(await submit_request(services, caller, idempotency_key, JobKind.REINDEX, request, request))


async def require_collections(passages: PassageStore, tenant: str, names: Collection[str]) -> None:
    """Raise NotFound, naming it, for a collection that this tenant does not have."""
    await asyncio.gather(*(passages.collection(tenant, name) for name in names))


async def find_collection(services: Services, tenant: str, name: str) -> CollectionInfo:
    """Describe a collection. Raises NotFound, naming ``name``."""
    try:
        return await services.passages.collection(tenant, name)
    except NotFound as error:
        raise NotFound("there is no such collection", "name") from error


def _body(collection: CollectionInfo) -> CollectionBody:
    return CollectionBody(
        name=collection.name,
        passages=collection.passages,
        embedder=collection.embedder,
        embedder_hash=collection.embedder_hash,
        vector_size=collection.vector_size,
        languages=list(collection.languages),
        damaged=collection.damaged,
    )
