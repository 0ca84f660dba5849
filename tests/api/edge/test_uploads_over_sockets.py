"""Uploads and downloads as they come over a socket: lies, silence, vanishing, slowness."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from pipelines.fakes.stores import InMemoryArtifactStore
from serve_app.settings import Settings
from tests.api.conftest import BuildWorld, World, listening
from tests.api.forms import form
from tests.api.jobs.test_jobs import submitted

MEBIBYTE = 1 << 20


class CleaningStore(InMemoryArtifactStore):
    """Says when something was removed."""

    def __init__(self) -> None:
        super().__init__()
        self.removed = asyncio.Event()

    async def delete_tree(self, prefix: str) -> None:
        await super().delete_tree(prefix)
        self.removed.set()


@asynccontextmanager
async def connected(world: World) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A raw connection to the application."""
    async with listening(world.app) as address:
        port = urlsplit(address).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            writer.close()


def head(length: int | None) -> bytes:
    """The request's head; without a length, the body is chunked."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n"
        "Content-Type: multipart/form-data; boundary=xyz\r\n\r\n"
    ).encode()


async def status_of(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(10):
        line = await reader.readline()
    return int(line.split()[1])


async def removed(store: CleaningStore) -> None:
    async with asyncio.timeout(10):
        await store.removed.wait()


@pytest.mark.parametrize("sent", [100, 1_000, 50_000])
async def test_a_client_that_vanishes_in_the_middle_leaves_nothing(build: BuildWorld, wav: bytes, sent: int) -> None:
    store = CleaningStore()
    world = await build(Settings(limits={"concurrent_uploads": 1}), run_jobs=False, artifacts=store)
    body = form(wav)
    async with connected(world) as (_, writer):
        writer.write(head(len(body)) + body[:sent])
        await writer.drain()
        writer.close()
        await removed(store)

    assert world.stored == []
    assert ("uploads", {"outcome": "gone"}) in world.metrics.counted
    assert (await submitted(world.client, wav))["status"] == "queued", "its place is free again"


async def test_a_length_that_claims_more_than_comes_ends_when_the_client_does(build: BuildWorld, wav: bytes) -> None:
    store = CleaningStore()
    world = await build(run_jobs=False, artifacts=store)
    body = form(wav)
    async with connected(world) as (_, writer):
        writer.write(head(len(body) + 1_000) + body)
        writer.write_eof()
        await removed(store)

    assert world.stored == []


async def test_a_length_that_claims_less_than_comes_is_malformed(build: BuildWorld, wav: bytes) -> None:
    world = await build(run_jobs=False)
    body = form(wav)
    async with connected(world) as (reader, writer):
        writer.write(head(len(body) // 2) + body)

        assert await status_of(reader) == 400
    assert world.stored == []


async def test_a_client_that_falls_silent_is_not_waited_for(build: BuildWorld, wav: bytes) -> None:
    world = await build(Settings(limits={"upload_idle_s": 0.05}), run_jobs=False)
    body = form(wav)
    async with connected(world) as (reader, writer):
        writer.write(head(len(body)) + body[:1_000])

        assert await status_of(reader) == 408
    assert world.stored == []


async def test_an_endless_upload_without_a_length_is_cut_off(build: BuildWorld, wav: bytes) -> None:
    world = await build(Settings(limits={"upload_bytes": 100_000}), run_jobs=False)
    async with connected(world) as (reader, writer):
        writer.write(head(None))
        first = form(b"x" * 10_000)[:-10]
        writer.write(f"{len(first):x}\r\n".encode() + first + b"\r\n")
        for _ in range(20):
            writer.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")

        assert await status_of(reader) == 413
    assert world.stored == []


class WaitingStore(CleaningStore):
    """Takes the first bytes of a file, and then no more until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()

    async def write_stream(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        await anext(chunks)
        await self.let_go.wait()
        return await super().write_stream(key, chunks)


async def test_a_store_that_is_slow_slows_the_client_down(build: BuildWorld) -> None:
    """Nothing between socket and store buffers without limit: what is not taken is not read."""
    store = WaitingStore()
    world = await build(run_jobs=False, artifacts=store)
    accepted = 0
    async with connected(world) as (_, writer):
        writer.write(head(200 * MEBIBYTE) + form(b"x")[:80])
        try:
            for _ in range(200):
                writer.write(b"x" * MEBIBYTE)
                async with asyncio.timeout(0.3):
                    await writer.drain()
                accepted += 1
        except TimeoutError:
            pass
        writer.transport.abort()
        store.let_go.set()
        await removed(store)

    assert accepted < 40, "most of it must have stayed with the client"
    assert world.stored == []


class CountingStore(InMemoryArtifactStore):
    """A recording of 100 MiB, made up as it is read."""

    blocks_read = 0
    let_go: asyncio.Event

    async def size(self, key: str) -> int | None:
        return 100 * MEBIBYTE

    async def read_range(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        self.let_go = asyncio.Event()
        try:
            for _ in range(100):
                self.blocks_read += 1
                yield b"x" * MEBIBYTE
        finally:
            self.let_go.set()


async def test_a_client_that_reads_slowly_is_read_for_slowly(build: BuildWorld, wav: bytes) -> None:
    store = CountingStore()
    world = await build(run_jobs=False, artifacts=store)
    job = await submitted(world.client, wav)
    async with connected(world) as (reader, writer):
        writer.write(f"GET {job['links']['audio']} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert await status_of(reader) == 200
        for _ in range(50):
            assert await reader.read(1)
        assert store.blocks_read < 30
        writer.transport.abort()
        async with asyncio.timeout(10):
            await store.let_go.wait()

    assert store.blocks_read < 60
