"""What goes into a request, encoded, or refused before anything is sent."""

import os
import re
from pathlib import Path
from urllib.parse import quote

import httpx

from serve_app.client.errors import NotSendable

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
