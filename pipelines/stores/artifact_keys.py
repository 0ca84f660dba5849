"""Which artifact keys exist: the one gate that keeps every read and write inside the store's root."""

import re

from pipelines.errors import InvalidRequest

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MAX_DEPTH = 8


def check_key(key: str) -> str:
    """Return ``key`` if it is ``part/part/…`` of plain characters; a part never begins with a dot or a hyphen.

    Nothing that a file system, a URL or a shell gives a meaning to gets through (``..``, ``/x``, ``a//b``, ``C:``,
    ``\\``, NUL, ``%2e``, ``~``), whatever names clients choose. Raises InvalidRequest.
    """
    parts = key.split("/")
    if len(parts) > _MAX_DEPTH or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidRequest("this is not the name of an artifact")
    return key
