"""OpenAI's embeddings: the dense half of what search uses."""

import base64
import struct
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, WithJsonSchema
from pydantic_core import PydanticCustomError

from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Embedding
from pipelines.errors import InvalidRequest, NotAvailable, NotFound
from serve_app.api.edge.authentication import InferenceCaller
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import RequestBody, ServicesOf

router = APIRouter(tags=["openai"])
_MOST_CHARACTERS = 100_000


def _as_list(given: Any) -> Any:
    """Make one text a list of one: what is wrong in a list is named by its place, not by the name of a type."""
    if isinstance(given, str):
        if not 1 <= len(given) <= _MOST_CHARACTERS:
            raise PydanticCustomError("text", "a text has 1 to 100,000 characters")
        return [given]
    if not isinstance(given, list):
        raise PydanticCustomError("texts", "give a text, or a list of texts")
    return given


Text = Annotated[str, Field(min_length=1, max_length=_MOST_CHARACTERS)]
TextList = Annotated[list[Text], Field(min_length=1, max_length=256)]
OneOrMoreTexts = Annotated[
    TextList, BeforeValidator(_as_list), WithJsonSchema(TypeAdapter(Text | TextList).json_schema())
]


class EmbeddingFields(RequestBody):
    """Texts to embed as passages."""

    input: OneOrMoreTexts
    model: str = Field(max_length=200, description="A name that `GET /v1/models` lists.")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1, description="Only the model's own.")
    user: str | None = Field(default=None, max_length=200, description="Not used.")


class EmbeddingBody(BaseModel):
    """One vector of unit length: numbers, or little-endian float32 in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Texts are not counted in tokens here; characters divided by four is what this says."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """One vector a text, in order."""

    object: Literal["list"] = "list"
    data: list[EmbeddingBody]
    model: str
    usage: EmbeddingUsage


@router.post("/v1/embeddings", summary="Embed texts", responses=error_answers(404))
async def embeddings(fields: EmbeddingFields, _caller: InferenceCaller, services: ServicesOf) -> EmbeddingList:
    """Return one dense vector a text, of the model that fills collections."""
    _check(fields, await services.embedder.info(), services.settings.openai.aliases)
    if not all(text.strip() for text in fields.input):
        raise InvalidRequest("a text is empty", "input")
    made = await services.embedder.embed_passages(fields.input)
    tokens = sum(map(len, fields.input)) // 4
    return EmbeddingList(
        data=[
            EmbeddingBody(index=index, embedding=_encoded(embedding, fields.encoding_format))
            for index, embedding in enumerate(made)
        ],
        model=fields.model,
        usage=EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens),
    )


def _check(fields: EmbeddingFields, loaded: EmbedderInfo, aliases: Mapping[str, str | None]) -> None:
    if fields.model not in (loaded.name, loaded.backend) and aliases.get(fields.model) != "embedder":
        raise NotFound("there is no such model: GET /v1/models lists what is loaded", "model")
    if fields.dimensions not in (None, loaded.vector_size):
        raise NotAvailable("vectors are as long as the model makes them", "dimensions")


def _encoded(embedding: Embedding, form: str) -> list[float] | str:
    if form == "float":
        return list(embedding.dense)
    return base64.b64encode(struct.pack(f"<{len(embedding.dense)}f", *embedding.dense)).decode("ascii")
