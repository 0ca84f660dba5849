"""What HTTP, Ray and our own code add to a search, and what searching at once gains."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from bench.search_measures import p50, p99, query_directly
from bench.serving_floor import ROUTE
from bench.serving_searches import EMBEDDER_THREADS, fill_folder, searching_application
from bench.synthetic_passages import COLLECTION, questions
from pipelines.ports.models import Embedder
from pipelines.retrieval.engines.minilm import MiniLmEmbedder
from pipelines.stores.qdrant.connection import Connection
from pipelines.stores.qdrant.edge_connection import EdgeConnection

WARM_UP = 3
TIMEOUT_S = 120.0
HEADINGS = ("passages", "direct, ms at p50", "p99", "HTTP, p50", "p99", "added at p50", "Serve's floor, p50")


async def search(client: httpx.AsyncClient, question: str) -> float:
    """Search once over HTTP; return the seconds it took."""
    started = time.perf_counter()
    response = await ask(client, question)
    took = time.perf_counter() - started
    response.raise_for_status()
    assert response.json()["hits"]
    return took


async def is_answered(client: httpx.AsyncClient, question: str) -> bool:
    """Search; return False where the server says that it is too busy."""
    response = await ask(client, question)
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        assert "retry-after" in response.headers
        return False
    response.raise_for_status()
    return True


async def ask(client: httpx.AsyncClient, question: str) -> httpx.Response:
    """Send a search."""
    return await client.post("/v1/search", json={"query": question, "collection": COLLECTION})


async def ask_nothing(client: httpx.AsyncClient, question: str) -> float:
    """Send as much to Serve's own floor; return the seconds it took."""
    started = time.perf_counter()
    response = await client.post(f"{ROUTE}/", json={"query": question, "collection": COLLECTION})
    took = time.perf_counter() - started
    response.raise_for_status()
    return took


async def search_directly(embedder: Embedder, connection: Connection, question: str) -> float:
    """Do what no search can do without, in this process; return the seconds it took."""
    started = time.perf_counter()
    await query_directly(connection, await embedder.embed_query(question), await embedder.info())
    return time.perf_counter() - started


async def alternate(
    client: httpx.AsyncClient, embedder: Embedder, connection: Connection, asked: Sequence[str]
) -> tuple[list[float], list[float], list[float]]:
    """Return seconds over HTTP, of the direct use and of Serve's floor, in turn: a busy machine slows all alike."""
    over_http, direct, floor = [], [], []
    for number, question in enumerate(asked):
        direct.append(await search_directly(embedder, connection, question))
        over_http.append(await search(client, question))
        await search_directly(embedder, connection, f"once more: {question}")  # the same pause before each
        floor.append(await ask_nothing(client, question))
        if (number + 1) % 20 == 0:
            print(f"  {number + 1} of {len(asked)} questions asked", flush=True)
    return over_http[WARM_UP:], direct[WARM_UP:], floor[WARM_UP:]


async def at_once(client: httpx.AsyncClient, count: int) -> tuple[float, int]:
    """Return the throughput of ``count`` new questions at once ÷ that of as many one by one, and how many failed."""
    asked = questions(2 * count, seed=9)
    started = time.perf_counter()
    for question in asked[:count]:
        await search(client, question)
    one_by_one = time.perf_counter() - started
    started = time.perf_counter()
    answered = sum(await asyncio.gather(*(is_answered(client, question) for question in asked[count:])))
    return (answered / (time.perf_counter() - started)) / (count / one_by_one), count - answered


async def measure(url: str, embedder: Embedder, copy: Path, searches: int, together: int) -> str:
    """Return a row's cells."""
    connection = EdgeConnection(copy)
    limits = httpx.Limits(max_connections=None)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, limits=limits) as client:
            asked = questions(searches + WARM_UP)
            over_http, direct, floor = await alternate(client, embedder, connection, asked)
            gain, refused = await at_once(client, together)
    finally:
        await connection.close()
    times = [p50(direct), p99(direct), p50(over_http), p99(over_http), p50(over_http) - p50(direct), p50(floor)]
    return " | ".join([*(f"{value:.1f}" for value in times), f"{gain:.2f}", str(refused)])


def run(sizes: Sequence[int], searches: int, together: int) -> None:
    """Print a row a size. The embedder that embeds directly is the served one's twin, in this process."""

    async def load() -> MiniLmEmbedder:
        return await MiniLmEmbedder.load(threads=EMBEDDER_THREADS)

    embedder = asyncio.run(load())
    for count in sizes:
        with TemporaryDirectory() as name:
            folder = Path(name)
            fill_folder(folder, count, asyncio.run(embedder.info()))
            with searching_application(folder) as application:
                cells = asyncio.run(measure(application.url, embedder, folder / "copy", searches, together))
        print(f"\n| {' | '.join(HEADINGS)} | {together} at once ÷ 1 | refused |")
        print("| --- " * (len(HEADINGS) + 2) + "|")
        print(f"| {count:,} | {cells} |\n", flush=True)
    asyncio.run(embedder.close())
