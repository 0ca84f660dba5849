"""Uploads: streamed into the artifact store while they are hashed and counted, and gone again unless they are kept."""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio
import structlog
from starlette.requests import Request

from pipelines.domain.job import Upload
from pipelines.errors import RayScribeError, TooLarge, TooManyUploads, UnsupportedMedia
from pipelines.ports import ArtifactStore
from serve_app.api.errors import BodyStalled
from serve_app.api.form import FieldCheck, Form, read_form
from serve_app.api.multipart import PartHead, read_parts
from serve_app.services import Services

_CLEANUP_S = 30.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]")
log = structlog.get_logger("rayscribe.uploads")


class UploadGate:
    """Lets so many uploads in at once: Serve buffers bodies without limit, so the number is the limit."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._limit = limit
        self._mean_s = 1.0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place. Raises TooManyUploads, with a Retry-After measured on the uploads before."""
        if not self._free:
            raise TooManyUploads("too many uploads are under way", None, self._mean_s / self._limit)
        self._free -= 1
        started_s = time.monotonic()
        try:
            yield
        finally:
            self._free += 1
            self._mean_s += 0.2 * (time.monotonic() - started_s - self._mean_s)


@dataclass(frozen=True, slots=True)
class Spool:
    """Writes one upload under ``folder``, refusing more than ``limit_bytes``."""

    artifacts: ArtifactStore
    folder: str
    limit_bytes: int

    async def accept(self, head: PartHead, chunks: AsyncIterator[bytes]) -> Upload:
        """Store the file as it arrives. Raises TooLarge, ArtifactStoreUnavailable."""
        digest = hashlib.sha256()
        artifact = f"{self.folder}/recording"
        async with aclosing(_hashed(chunks, digest, self.limit_bytes)) as hashed:
            size = await self.artifacts.write_stream(artifact, hashed)
        return Upload(
            filename=display_name(head.filename or ""), sha256=digest.hexdigest(), bytes=size, artifact=artifact
        )


@asynccontextmanager
async def scratch_folder(artifacts: ArtifactStore, folder: str) -> AsyncGenerator["Scratch", None]:
    """Remove ``folder`` at the end, however the end comes, unless its owner said ``keep()``."""
    scratch = Scratch()
    try:
        yield scratch
    finally:
        if not scratch.kept:
            await _remove(artifacts, folder)


class Scratch:
    """Whether a folder of the artifact store outlives the request that made it."""

    def __init__(self) -> None:
        self.kept = False

    def keep(self) -> None:
        """The folder belongs to somebody now."""
        self.kept = True


async def take_upload(request: Request, services: Services, folder: str, check_field: FieldCheck) -> Form[Upload]:
    """Read the request's form, spooling its file below ``folder``, which stays the caller's to remove.

    Raises TooManyUploads before a byte is read, and as read_form and Spool.accept do, and BodyStalled.
    """
    gate: UploadGate = request.app.state.uploads
    limits = services.settings.limits
    spool = Spool(services.artifacts, folder, limits.upload_bytes)
    outcome = "gone"
    try:
        with gate.admit():
            parts = read_parts(_body(request, limits.upload_idle_s), request.headers.get("content-type", ""))
            form = await read_form(parts, check_field=check_field, accept_file=spool.accept)
        outcome = "received"
        services.metrics.count("upload_bytes", form.file.bytes)
        return form
    except RayScribeError as error:
        outcome = error.code
        raise
    finally:
        services.metrics.count("uploads", outcome=outcome)


def display_name(filename: str) -> str:
    """Return a client's file name for people to read: no folders, no control characters, at most 255 characters.

    It is never part of a path.
    """
    name = _CONTROL.sub("", re.split(r"[/\\]", filename)[-1]).strip()
    return name[:255] or "recording"


async def _remove(artifacts: ArtifactStore, folder: str) -> None:
    # Shielded: a client that goes away cancels the request, and its bytes must go all the same.
    with anyio.move_on_after(_CLEANUP_S, shield=True) as scope:
        try:
            await artifacts.delete_tree(folder)
        except RayScribeError as error:
            log.warning("upload_left_behind", folder=folder, code=error.code)
    if scope.cancelled_caught:
        log.warning("upload_left_behind", folder=folder, code="timeout")


async def _hashed(chunks: AsyncIterator[bytes], digest: "hashlib._Hash", limit: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise TooLarge(f"the recording is larger than {limit:,} bytes", "file")
        digest.update(chunk)
        yield chunk
    if not received:
        raise UnsupportedMedia("the file is empty", "file")


async def _body(request: Request, idle_s: float) -> AsyncGenerator[bytes, None]:
    async with aclosing(request.stream()) as stream:
        while True:
            try:
                async with asyncio.timeout(idle_s):
                    chunk = await anext(stream, None)
            except TimeoutError:
                raise BodyStalled(f"nothing was received for {idle_s:g} s") from None
            if chunk is None:
                return
            yield chunk
