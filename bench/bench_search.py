"""What a search and a first word cost beside the engines underneath.

    python -m bench search                          # all parts that need no server
    python -m bench search --parts local            # CPU time of the flow beside Qdrant's own, in one process
    python -m bench search --parts gather           # how full batches of questions are, and what that gains
    python -m bench search --parts http             # over HTTP and Ray beside the direct use; many at once
    python -m bench search --parts first-token      # chat: from the engine's first token to the client's
    python -m bench search --server http://127.0.0.1:6333 --passages 100000

Questions are new each time, so that the cache of query embeddings is cold. Qdrant's own time grows with the
collection, what is added should not. ``--server`` fills and removes a collection of its own there.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from tempfile import TemporaryDirectory

from bench import first_token, search_over_http
from bench.search_measures import p50, p99, query_directly
from bench.synthetic_passages import COLLECTION, TENANT, SyntheticEmbedder, fill, questions
from pipelines.batching import BatchStatistics
from pipelines.domain.passage import SearchRequest
from pipelines.errors import NotFound
from pipelines.retrieval.engines.minilm import MiniLmEmbedder
from pipelines.retrieval.search import search_passages
from pipelines.stores.qdrant.connection import Connection, ServerConnection
from pipelines.stores.qdrant.edge_connection import EdgeConnection
from pipelines.stores.qdrant.passages import QdrantPassageStore

PARTS = ("local", "gather", "http", "first-token")
SIZES = (5_000, 20_000, 100_000)
WARM_UP = 3


async def compare(
    connection: Connection, count: int, searches: int, clock: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Return seconds of raw Qdrant queries, and of as many searches by the flow, taken in turn."""
    store, embedder = QdrantPassageStore(connection), SyntheticEmbedder()
    try:
        await fill(store, count)
        raw, ours = [], []
        for question in questions(searches + WARM_UP):
            query, info = await embedder.embed_query(question), await embedder.info()
            started = clock()
            await query_directly(connection, query, info)
            raw.append(clock() - started)
            started = clock()
            await search_passages(embedder, store, TENANT, SearchRequest(query=question, collections=(COLLECTION,)))
            ours.append(clock() - started)
        return raw[WARM_UP:], ours[WARM_UP:]
    finally:
        await _remove(store)
        await store.close()


async def _remove(store: QdrantPassageStore) -> None:
    with suppress(NotFound):
        await store.delete_collection(TENANT, COLLECTION)


def print_costs(title: str, rows: Sequence[tuple[int, list[float], list[float]]]) -> None:
    """Print a row a size: what Qdrant takes, what a search takes, and the difference."""
    print(f"\n| passages | {title} at p50 | p99 | search, p50 | p99 | added at p50 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for count, raw, ours in rows:
        cells = [p50(raw), p99(raw), p50(ours), p99(ours), p50(ours) - p50(raw)]
        print(f"| {count:,} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")


def run_local(sizes: Sequence[int], searches: int) -> None:
    """Measure in CPU time of this process, which a busy machine does not change."""
    rows = []
    for count in sizes:
        with TemporaryDirectory() as folder:
            rows.append((count, *asyncio.run(compare(EdgeConnection(folder), count, searches, time.process_time))))
    print_costs("Qdrant in process, CPU ms", rows)


def run_server(url: str, sizes: Sequence[int], searches: int) -> None:
    """Measure against a Qdrant server, in wall time."""

    async def measured(count: int) -> tuple[list[float], list[float]]:
        return await compare(ServerConnection(url), count, searches, time.perf_counter)

    print_costs("Qdrant server, ms", [(count, *asyncio.run(measured(count))) for count in sizes])


async def gather_questions(at_once: int) -> tuple[float, float, float]:
    """Return questions a batch, seconds for all at once, and seconds for one after the other."""
    embedder = await MiniLmEmbedder.load()
    try:
        asked = questions(at_once)
        await embedder.embed_query("warm up")
        started = time.perf_counter()
        for question in asked:
            await embedder.embed_query(question)
        one_by_one = time.perf_counter() - started
        batches: list[BatchStatistics] = []
        embedder._batcher._on_batch = batches.append
        started = time.perf_counter()
        await asyncio.gather(*(embedder.embed_query(question) for question in asked))
        together = time.perf_counter() - started
        return sum(batch.items for batch in batches) / len(batches), together, one_by_one
    finally:
        await embedder.close()


def run_gather(at_once: int) -> None:
    """Print how full the batches were."""
    fill_of_batches, together, one_by_one = asyncio.run(gather_questions(at_once))
    gain = one_by_one / together
    print(f"\n{at_once} questions at once: {fill_of_batches:.1f} a batch, {gain:.1f} × the throughput of one by one")


def run(options: argparse.Namespace) -> None:
    """Run the parts that were asked for."""
    sizes: Sequence[int] = options.passages or SIZES
    parts: dict[str, Callable[[], None]] = {
        "local": lambda: run_local(sizes, options.searches),
        "gather": lambda: run_gather(options.at_once),
        "http": lambda: search_over_http.run(sizes, options.searches, options.at_once),
        "first-token": lambda: first_token.run(options.searches),
    }
    if options.server:
        run_server(options.server, options.passages or (100_000,), options.searches)
        return
    for part in options.parts:
        print(f"\n{part}", flush=True)
        parts[part]()


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--passages", type=int, nargs="+", help="sizes of collections")
    parser.add_argument("--searches", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--server", help="URL of a Qdrant server: only that is measured, at 100,000 passages")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
