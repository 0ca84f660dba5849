"""Requests and answers of the client: addresses, headers, uploads, and bodies that are read with care."""

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar, cast, get_args, get_origin, get_type_hints, is_typeddict
from urllib.parse import quote

import httpx

from serve_app.client.errors import NotRayScribe, NotSendable

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def server_address(server: str) -> httpx.URL:
    """Return the server's URL. Raises NotSendable for what is no HTTP address."""
    try:
        url = httpx.URL(server.rstrip("/"))
    except (httpx.InvalidURL, UnicodeError):
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise NotSendable(f"{server!r} is no address of a server: write it like http://127.0.0.1:8000")
    return url


def route(*segments: str) -> str:
    """Return the path of these segments, none of which can lead anywhere else. Raises NotSendable."""
    for segment in segments:
        # Dots are resolved on the way to the server, and some proxies decode a slash before they do it.
        if not segment.strip(".") or "/" in segment:
            raise NotSendable(f"{segment!r} is no id")
    return "".join("/" + quote(segment, safe="", errors="surrogatepass") for segment in segments)


def authorization(api_key: str | None) -> dict[bytes, bytes]:
    """Return the header that carries the key, as the bytes whose hash the server knows. Raises NotSendable."""
    key = (api_key or "").strip(" \t\r\n")
    if _CONTROL.search(key):
        raise NotSendable("the API key holds a control character, which no header carries")
    return {b"Authorization": b"Bearer " + key.encode("utf-8", "surrogateescape")} if key else {}


def idempotency(key: str | None) -> dict[str, str]:
    """Return the header that carries an idempotency key. Raises NotSendable."""
    if key is None:
        return {}
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise NotSendable("an idempotency key is 1 to 255 visible ASCII characters")
    return {"Idempotency-Key": key}


def file_name(file: Path) -> str:
    """Return a file's name as text; what of it is no UTF-8 is replaced."""
    return os.fsencode(file.name).decode("utf-8", "replace")


Progress = Callable[[int, int], None]
"""Called with bytes sent and bytes in all."""


class MeteredFile:
    """Reads like the file it wraps, and reports each read."""

    def __init__(self, file: BinaryIO, on_read: Progress) -> None:
        """Wrap an open file; the caller closes it."""
        self._file = file
        self._on_read = on_read
        self._size = file.seek(0, 2)
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Read on and report."""
        data = self._file.read(size)
        self._on_read(self._file.tell(), self._size)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, as a request that is sent again does."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return where reading stands."""
        return self._file.tell()

    def fileno(self) -> int:
        """Return the descriptor, by which httpx learns the length."""
        return self._file.fileno()


def metered(file: BinaryIO, on_read: Progress | None) -> IO[bytes]:
    """Return a file for httpx, reporting when asked to."""
    return file if on_read is None else cast(IO[bytes], MeteredFile(file, on_read))


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
