"""Uploads: streamed into the artifact store while they are hashed and counted, and gone again unless they are kept."""

import asyncio
import hashlib
import math
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio
import structlog
from starlette.requests import Request

from pipelines.domain.job import Upload
from pipelines.errors import RayScribeError, TooLarge, TooManyUploads, UnsupportedMedia
from pipelines.ports.artifacts import ArtifactStore
from serve_app.api.edge.errors import BodyStalled, UploadTooSlow
from serve_app.api.edge.forms import ONE_FILE, FieldCheck, Form, FormShape, read_form
from serve_app.api.edge.multipart import PartHead, read_parts
from serve_app.services import Services
from serve_app.settings import LimitSettings, Settings

_CLEANUP_S = 30.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]")
log = structlog.get_logger("rayscribe.uploads")


class UploadGate:
    """Lets so many uploads in at once: Serve buffers bodies without limit, so the number is the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: Counter[str] = Counter()
        self._mean_s = 1.0

    @contextmanager
    def admit(self, tenant: str, *, share: float = 1.0) -> Iterator[None]:
        """Hold a place of ``tenant``, who gets this share of all places, rounded up.

        Raises TooManyUploads, with a Retry-After measured on the uploads before.
        """
        self._check(tenant, math.ceil(share * self._limit))
        self._held[tenant] += 1
        started_s = time.monotonic()
        try:
            yield
        finally:
            self._held[tenant] -= 1
            self._held += Counter()  # forgets tenants without uploads
            self._mean_s += 0.2 * (time.monotonic() - started_s - self._mean_s)

    def _check(self, tenant: str, most: int) -> None:
        if self._held.total() >= self._limit:
            raise TooManyUploads("too many uploads are under way", None, self._mean_s / self._limit)
        if self._held[tenant] >= most:
            raise TooManyUploads("too many uploads with keys of this tenant are under way", None, self._mean_s / most)


class UploadPace:
    """Whether a client sends as fast as it must, on average over each stretch of time that was spent waiting for it."""

    def __init__(self, *, bytes_per_s: float, over_s: float) -> None:
        """``over_s`` is how long a stretch is: nothing is said before the first is over."""
        self._bytes_per_s = bytes_per_s
        self._over_s = over_s
        self._received = 0
        self._waited_s = 0.0

    def note(self, received: int, waited_s: float) -> None:
        """Count bytes, and how long they were waited for. Raises UploadTooSlow at the end of a slow stretch."""
        self._received += received
        self._waited_s += waited_s
        if self._waited_s < self._over_s:
            return
        if self._received < self._bytes_per_s * self._waited_s:
            raise UploadTooSlow(f"less than {self._bytes_per_s:,.0f} bytes a second were received")
        self._received, self._waited_s = 0, 0.0


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


async def take_upload(
    request: Request,
    services: Services,
    folder: str,
    check_field: FieldCheck,
    *,
    shape: FormShape = ONE_FILE,
    limit_bytes: int | None = None,
) -> Form[Upload]:
    """Read the request's form, spooling its file below ``folder``, which stays the caller's to remove.

    ``limit_bytes``: of the file; None: what a recording may have.

    Raises TooManyUploads before a byte is read, and as read_form and Spool.accept do, and BodyStalled, UploadTooSlow.
    """
    gate: UploadGate = request.app.state.uploads
    limits = services.settings.limits
    spool = Spool(services.artifacts, folder, limit_bytes or limits.upload_bytes)
    outcome = "gone"
    try:
        with gate.admit(request.state.caller.tenant, share=_share(services.settings)):
            parts = read_parts(_body(request, limits), request.headers.get("content-type", ""))
            form = await read_form(parts, check_field=check_field, accept_file=spool.accept, shape=shape)
        outcome = "received"
        services.metrics.count("upload_bytes", sum(file.bytes for file in form.files))
        return form
    except RayScribeError as error:
        outcome = error.code
        raise
    finally:
        services.metrics.count("uploads", outcome=outcome)


def _share(settings: Settings) -> float:
    """Return how much of all places one tenant may hold: all of them where there can be no other tenant."""
    return 0.5 if len({key.tenant for key in settings.keys}) > 1 else 1.0


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


async def _body(request: Request, limits: LimitSettings) -> AsyncGenerator[bytes, None]:
    pace = UploadPace(bytes_per_s=limits.upload_bytes_per_s, over_s=limits.upload_pace_s)
    async with aclosing(request.stream()) as stream:
        while True:
            # Only the client's own time counts: what the store takes is not its fault.
            asked_s = time.monotonic()
            try:
                async with asyncio.timeout(limits.upload_idle_s):
                    chunk = await anext(stream, None)
            except TimeoutError:
                raise BodyStalled(f"nothing was received for {limits.upload_idle_s:g} s") from None
            if chunk is None:
                return
            pace.note(len(chunk), time.monotonic() - asked_s)
            yield chunk
