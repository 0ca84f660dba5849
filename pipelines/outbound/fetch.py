"""A recording fetched from an address that a tenant names: in pieces that stay, so that no byte is fetched twice."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

from pipelines.domain.job import Upload
from pipelines.errors import SourceUnreachable, TooLarge, UnsupportedMedia
from pipelines.outbound.guard import OutboundPolicy, check_url, open_client
from pipelines.ports.artifacts import ArtifactStore

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """How much, and for how long."""

    most_bytes: int = 500_000_000
    piece_bytes: int = 8 << 20
    """What is kept at once; a runner that dies loses at most one."""
    idle_s: float = 30.0
    """Longest wait for the next bytes."""
    whole_s: float = 1_800.0
    """Longest time for all of it, however slowly it comes."""
    attempts: int = 5
    """Connections that bring nothing new before it is given up."""
    pause_s: float = 1.0
    """Before the second one; doubled each time."""
    redirects: int = 5


class HttpFetcher:
    """Implements RecordingFetcher."""

    def __init__(self, artifacts: ArtifactStore, policy: OutboundPolicy, limits: FetchLimits | None = None) -> None:
        self._artifacts = artifacts
        self._policy = policy
        self._limits = limits or FetchLimits()

    async def fetch(self, url: str, upload: Upload) -> Upload:
        """Bring what is at ``url`` to ``upload.artifact``, going on after the pieces that are there.

        Raises AddressRefused, SourceUnreachable, TooLarge, UnsupportedMedia (nothing there), ArtifactStoreUnavailable.
        """
        limits = self._limits
        pieces = _Pieces(self._artifacts, f"{upload.artifact}-pieces")
        await pieces.load()
        try:
            async with asyncio.timeout(limits.whole_s):
                await self._gather(url, pieces)
        except TimeoutError:
            raise SourceUnreachable(f"the recording was not there within {limits.whole_s:g} s", "url") from None
        digest = hashlib.sha256()
        size = await self._artifacts.write_stream(upload.artifact, _hashed(pieces.read(), digest))
        if not size:
            raise UnsupportedMedia("there is nothing at this address", "url")
        await pieces.delete()
        return Upload(filename=upload.filename, sha256=digest.hexdigest(), bytes=size, artifact=upload.artifact)

    async def _gather(self, url: str, pieces: "_Pieces") -> None:
        timeout = httpx.Timeout(self._limits.idle_s, connect=10.0)
        failures = 0
        async with open_client(self._policy, timeout=timeout) as client:
            while not pieces.complete:
                before = pieces.size
                try:
                    await self._read_on(client, url, pieces)
                except httpx.TransportError:
                    failures = 0 if pieces.size > before else failures + 1
                    if failures >= self._limits.attempts:
                        raise SourceUnreachable("the address does not answer, or breaks off", "url") from None
                    await asyncio.sleep(self._limits.pause_s * 2**failures)

    async def _read_on(self, client: httpx.AsyncClient, url: str, pieces: "_Pieces") -> None:
        async with aclosing(self._followed(client, url, pieces)) as answers:
            async for answer in answers:
                await self._take(answer, pieces)

    async def _followed(
        self, client: httpx.AsyncClient, url: str, pieces: "_Pieces"
    ) -> AsyncGenerator[httpx.Response, None]:
        """Yield the answer after all redirects, each of which is checked as the first address was."""
        # Identity: what is small on the way must not grow here.
        headers = {"accept-encoding": "identity", **pieces.range_headers}
        for _ in range(self._limits.redirects + 1):
            check_url(url, self._policy)
            async with client.stream("GET", url, headers=headers) as answer:
                if answer.status_code not in _REDIRECTS or "location" not in answer.headers:
                    yield answer
                    return
                url = urljoin(url, answer.headers["location"])
        raise SourceUnreachable("the address leads to another one too often", "url")

    async def _take(self, answer: httpx.Response, pieces: "_Pieces") -> None:
        if answer.status_code == 416 and pieces.size:
            pieces.complete = True
            return
        if answer.status_code >= 500 or answer.status_code == 429:
            raise httpx.ReadError("not now")
        if answer.status_code not in (200, 206):
            raise SourceUnreachable(f"the address answers {answer.status_code}", "url")
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMedia("the address sends the recording compressed, unasked", "url")
        if answer.status_code == 200 or not answer.headers.get("content-range", "").startswith(f"bytes {pieces.size}-"):
            if answer.status_code == 206 and not pieces.size:
                raise SourceUnreachable("the address sends another part than was asked for", "url")
            await pieces.begin(answer)  # it cannot go on, or is another file by now
            if answer.status_code == 206:
                return  # and asks for all of it
        declared = answer.headers.get("content-length", "0")
        self._require_room(pieces.size + (int(declared) if declared.isdecimal() and len(declared) < 19 else 0))
        held = bytearray()
        try:
            async for chunk in answer.aiter_raw():
                held += chunk
                self._require_room(pieces.size + len(held))
                if len(held) >= self._limits.piece_bytes:
                    await pieces.add(bytes(held))
                    held.clear()
        finally:
            if held:
                await pieces.add(bytes(held))
        pieces.complete = True

    def _require_room(self, size: int) -> None:
        if size > self._limits.most_bytes:
            raise TooLarge(f"the recording is larger than {self._limits.most_bytes:,} bytes", "url")


class _Pieces:
    """What has been fetched so far, and of which version of the file."""

    def __init__(self, artifacts: ArtifactStore, folder: str) -> None:
        self._artifacts = artifacts
        self._folder = folder
        self._keys: list[str] = []
        self._version: str | None = None
        self.size = 0
        self.complete = False

    async def load(self) -> None:
        """Find what an earlier attempt has left."""
        names = await self._artifacts.list_keys(self._folder)
        if f"{self._folder}/version" not in names:
            return
        self._version = json.loads(await self._artifacts.read(f"{self._folder}/version"))
        self._keys = [name for name in names if not name.endswith("/version")]
        sizes = [await self._artifacts.size(key) for key in self._keys]
        self.size = sum(size or 0 for size in sizes)

    @property
    def range_headers(self) -> dict[str, str]:
        """Ask for the rest of the same version; for all of it, where that cannot be told."""
        if not self.size or self._version is None:
            return {}
        return {"range": f"bytes={self.size}-", "if-range": self._version}

    async def begin(self, answer: httpx.Response) -> None:
        """Forget what is there, and remember which version comes now."""
        await self.delete()
        self._keys, self.size = [], 0
        etag = answer.headers.get("etag", "")
        self._version = etag if etag and not etag.startswith("W/") else answer.headers.get("last-modified")
        await self._artifacts.write(f"{self._folder}/version", json.dumps(self._version).encode())

    async def add(self, data: bytes) -> None:
        """Keep the next piece."""
        key = f"{self._folder}/{len(self._keys):06d}"
        await self._artifacts.write(key, data)
        self._keys.append(key)
        self.size += len(data)

    async def read(self) -> AsyncGenerator[bytes, None]:
        """Yield all of it."""
        for key in self._keys:
            yield await self._artifacts.read(key)

    async def delete(self) -> None:
        """Remove the pieces."""
        await self._artifacts.delete_tree(self._folder)


async def _hashed(chunks: AsyncIterator[bytes], digest: "hashlib._Hash") -> AsyncGenerator[bytes, None]:
    async for chunk in chunks:
        digest.update(chunk)
        yield chunk
