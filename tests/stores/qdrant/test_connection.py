"""What only the adapter can show: a server that is down, slow, busy or refuses, and a folder that is taken."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from pipelines.domain.passage import SearchFilters
from pipelines.errors import NotFound, PassageStoreUnavailable
from pipelines.fakes.models import FakeEmbedder
from pipelines.stores.qdrant.connection import CollectionExists, CollectionMissing, ServerConnection
from pipelines.stores.qdrant.passages import QdrantPassageStore
from tests.contracts.test_passage_store import PASSAGES, fill

Serve = Callable[[bytes | None], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server that answers every request with the same bytes, or never; return its URL."""
    servers = []

    async def start(answer: bytes | None) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            if answer is not None:
                writer.write(answer)
                await writer.drain()
            else:
                await reader.read()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


def response(status: str, body: str = '{"status": {"error": "x"}}', headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}"
    return f"{head}Connection: close\r\n\r\n{body}".encode()


async def call(url: str, *, timeout_s: int = 5) -> None:
    connection = ServerConnection(url, timeout_s=timeout_s)
    try:
        await connection.call("get_collection", collection_name="c")
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("404 Not Found", CollectionMissing),
        ("409 Conflict", CollectionExists),
        ("403 Forbidden", PassageStoreUnavailable),
        ("500 Internal Server Error", PassageStoreUnavailable),
        ("503 Service Unavailable", PassageStoreUnavailable),
    ],
)
async def test_a_status_becomes_an_error_of_ours(serve: Serve, status: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await call(await serve(response(status)))


async def test_a_busy_server_says_when_to_come_back(serve: Serve) -> None:
    with pytest.raises(PassageStoreUnavailable) as refused:
        await call(await serve(response("429 Too Many Requests", headers="Retry-After: 7\r\n")))
    assert refused.value.retry_after_s == 7.0


async def test_a_slow_server_is_unavailable(serve: Serve) -> None:
    with pytest.raises(PassageStoreUnavailable):
        await call(await serve(None), timeout_s=1)


async def test_nonsense_is_unavailable(serve: Serve) -> None:
    with pytest.raises(PassageStoreUnavailable):
        await call(await serve(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"))


async def test_a_server_that_is_down_is_unavailable() -> None:
    store = await QdrantPassageStore.open("http://127.0.0.1:9")
    with pytest.raises(PassageStoreUnavailable) as refused:
        await store.collections("a")
    assert "127.0.0.1" not in str(refused.value)
    await store.close()


async def test_an_unknown_collection_of_a_server_is_not_found(serve: Serve) -> None:
    store = await QdrantPassageStore.open(await serve(response("404 Not Found")))
    with pytest.raises(NotFound):
        await store.search(
            "a",
            "notes",
            await FakeEmbedder().embed_query("exam"),
            mode="hybrid",
            top_k=1,
            filters=SearchFilters(),
            embedder=await FakeEmbedder().info(),
        )
    await store.close()


async def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    owner = await QdrantPassageStore.open(tmp_path)
    with pytest.raises(PassageStoreUnavailable):
        await QdrantPassageStore.open(tmp_path)
    await owner.close()
    again = await QdrantPassageStore.open(tmp_path)
    await again.close()
    await again.close()


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = await QdrantPassageStore.open(tmp_path)
    await store.close()
    with pytest.raises(PassageStoreUnavailable):
        await store.collections("a")


async def test_passages_are_there_when_the_folder_is_opened_again(tmp_path: Path) -> None:
    store = await QdrantPassageStore.open(tmp_path)
    await fill(store, *PASSAGES)
    await store.close()
    again = await QdrantPassageStore.open(tmp_path)
    assert await again.passages("a", "notes", "job-1") == PASSAGES[:3]
    assert [info.passages for info in await again.collections("a")] == [4]
    await again.close()
