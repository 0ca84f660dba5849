"""Answers, checked for what RayScribe always says, so that another server's are told apart from ours."""

from functools import cache
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints, is_typeddict

import httpx

from serve_app.client.errors import NotRayScribe

ShapeT = TypeVar("ShapeT")


def read_json(response: httpx.Response, shape: type[ShapeT]) -> ShapeT:
    """Return a body of this shape (a TypedDict). Raises NotRayScribe."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not _fits(body, shape):
        raise not_ours(response.request)
    return cast(ShapeT, body)


def read_text(response: httpx.Response) -> str:
    """Return a body that is text. Raises NotRayScribe for a web page, and for what does not say what it is."""
    if response.headers.get("content-type", "text/html").startswith("text/html"):
        raise not_ours(response.request)
    return response.text


def not_ours(request: httpx.Request) -> NotRayScribe:
    """Return the error that says who answered, and to what."""
    url = request.url
    place = f"{url.scheme}://{url.netloc.decode('ascii')}"
    return NotRayScribe(f"{place} is not a RayScribe server: its answer to {url.path} is something else")


def _fits(value: Any, shape: Any) -> bool:
    """Say whether all required keys are there, also in lists; a key's own type is believed."""
    if is_typeddict(shape):
        keys = _keys(shape)
        return (
            isinstance(value, dict)
            and shape.__required_keys__ <= value.keys()
            and all(_fits(value[key], keys[key]) for key in keys.keys() & value.keys())
        )
    if get_origin(shape) is list:
        return isinstance(value, list) and all(_fits(item, get_args(shape)[0]) for item in value)
    return True


@cache
def _keys(shape: Any) -> dict[str, Any]:
    return get_type_hints(shape)
