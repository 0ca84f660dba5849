"""A tenant's collections."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel
from starlette.responses import Response

from pipelines.domain.passage import CollectionInfo
from pipelines.errors import NotFound
from serve_app.api.authentication import JobWriter, Searcher
from serve_app.api.context import ServicesOf
from serve_app.api.documentation import error_answers
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


class CollectionList(BaseModel):
    """All collections of a tenant, by name."""

    object: str = "list"
    data: list[CollectionBody]


@router.get("/v1/collections", summary="List collections", responses=error_answers())
async def list_collections(caller: Searcher, services: ServicesOf) -> CollectionList:
    """List the collections of this key's tenant."""
    return CollectionList(data=[_body(found) for found in await services.passages.collections(caller.tenant)])


@router.get("/v1/collections/{name}", summary="One collection", responses=error_answers(404))
async def get_collection(name: Name, caller: Searcher, services: ServicesOf) -> CollectionBody:
    """Show size, embedding model and languages."""
    return _body(await _find(services, caller.tenant, name))


@router.delete("/v1/collections/{name}", status_code=204, summary="Delete a collection", responses=error_answers(404))
async def delete_collection(name: Name, caller: JobWriter, services: ServicesOf) -> Response:
    """Remove a collection with its passages; the recordings and transcripts stay."""
    # Looked up first, so that a name no collection can have is unknown, and not a fault of the store.
    await _find(services, caller.tenant, name)
    await services.passages.delete_collection(caller.tenant, name)
    return Response(status_code=204)


async def _find(services: Services, tenant: str, name: str) -> CollectionInfo:
    for found in await services.passages.collections(tenant):
        if found.name == name:
            return found
    raise NotFound("there is no such collection", "name")


def _body(collection: CollectionInfo) -> CollectionBody:
    return CollectionBody(
        name=collection.name,
        passages=collection.passages,
        embedder=collection.embedder,
        embedder_hash=collection.embedder_hash,
        vector_size=collection.vector_size,
        languages=list(collection.languages),
    )
