"""The page: what `serve_app/web` was built into, from memory, under a policy that lets it load nothing else."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from pipelines.errors import NotFound

BUILT_FOLDER = Path(__file__).resolve().parents[2] / "web" / "built"
INDEX = "index.html"
_HEADERS = {
    "content-security-policy": "; ".join(
        (
            "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
            # A recording that needs a key is fetched with it, and played from memory.
            "media-src 'self' blob:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
        )
    ),
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
    "referrer-policy": "no-referrer",
    "vary": "Accept, Accept-Encoding",
    "x-content-type-options": "nosniff",
}  # fmt: skip
router = APIRouter()


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One file of the page."""

    content: bytes
    compressed: bytes
    media_type: str
    etag: str


def _read(folder: Path) -> Mapping[str, _File]:
    """Read all files, by their path below the folder: what is not in this table is not served."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): _file(path) for path in found}


def _file(path: Path) -> _File:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    digest = hashlib.sha256(content).hexdigest()[:32]
    return _File(content=content, compressed=gzip.compress(content, mtime=0), media_type=media_type, etag=f'"{digest}"')


_FILES = _read(BUILT_FOLDER)


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def index(request: Request) -> Response:
    """Show the page; it asks for a key itself where this deployment wants one."""
    return _answer(request, _FILES[INDEX], cache="no-cache")


@router.api_route("/web/{name:path}", methods=["GET", "HEAD"], include_in_schema=False)
async def part(request: Request, name: str) -> Response:
    """Give a file of the page; its name holds a hash of its content, so that it may be kept for ever."""
    if name not in _FILES:
        raise NotFound("there is no such file", "name")
    hashed = name.startswith("assets/")
    return _answer(request, _FILES[name], cache="public, max-age=31536000, immutable" if hashed else "no-cache")


def _answer(request: Request, file: _File, *, cache: str) -> Response:
    headers = {**_HEADERS, "cache-control": cache, "etag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, headers={**headers, "content-encoding": "gzip"}, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)
