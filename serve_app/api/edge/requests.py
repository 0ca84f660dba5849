"""What a request handler is given: the services, a checked body, and whether the client is still there."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import ClientDisconnect

from pipelines.domain.answer import SamplingOptions
from serve_app.services import Services


class RequestBody(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _is_encodable(cls, data: Any) -> Any:
        refuse_surrogates(data)
        return data


def refuse_surrogates(data: Any) -> None:
    """Raise PydanticCustomError for lone surrogates, which JSON can escape and UTF-8 cannot carry."""
    # A list of what is left, not recursion: the parser nests deeper than the stack then has room for.
    left = [data]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            left += item
        elif isinstance(item, str) and not item.isascii():
            _refuse_unencodable(item)


def _refuse_unencodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("not_unicode", "the text holds half a surrogate pair") from None


class SamplingFields(RequestBody):
    """What is left out is asked of the profile, then of the model's own generation_config.json."""

    temperature: float | None = Field(default=None, ge=0.0, le=2.0, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0, allow_inf_nan=False)
    top_k: int | None = Field(default=None, ge=1, le=1_000)
    repetition_penalty: float | None = Field(default=None, gt=0.0, le=10.0, allow_inf_nan=False)
    max_tokens: int | None = Field(default=None, ge=1, le=32_768)
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)

    def to_sampling(self) -> SamplingOptions:
        """Return the flow's record."""
        return SamplingOptions(**self.model_dump())


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(_services)]

ResultT = TypeVar("ResultT")


async def while_connected(request: Request, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Return what ``work`` returns; cancel it and raise ClientDisconnect once the client has gone.

    For requests whose body has been read. Ray Serve cancels the handler by itself; a plain ASGI server does not.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
