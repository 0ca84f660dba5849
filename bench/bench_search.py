"""What a search costs beside Qdrant itself, and what gathering questions into batches gains.

    python -m bench.bench_search [--passages 5000 20000] [--searches 30] [--at-once 32]

Synthetic vectors in Qdrant's local mode, which scans: its own time grows with the collection, ours should not. Searches
are measured in CPU time of this process, which a busy machine does not change; questions at once in wall time.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any

import numpy as np
from qdrant_client import QdrantClient

from pipelines.domain.model import ModelInfo
from pipelines.domain.passage import Embedding, Passage, SearchFilters, SearchRequest, SparseVector
from pipelines.engines.minilm_embedder import MiniLmEmbedder
from pipelines.flows.search_passages import search_passages
from pipelines.steps.chunk_transcript import passage_id
from pipelines.stores.qdrant_connection import IN_MEMORY, LocalConnection
from pipelines.stores.qdrant_passages import QdrantPassageStore
from pipelines.stores.qdrant_search import stage_requests

SIZE = 384
VOCABULARY = 20_000
WORDS = 25


class SyntheticEmbedder:
    """Random vectors, drawn anew for every text, at no cost worth measuring."""

    def __init__(self, seed: int = 1) -> None:
        self._draw = np.random.default_rng(seed)

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        """Draw a vector for each text."""
        return tuple(self._one(WORDS) for _ in texts)

    async def embed_query(self, text: str) -> Embedding:
        """Draw a vector."""
        return self._one(4)

    async def info(self) -> ModelInfo:
        """Describe them."""
        return ModelInfo(
            role="embedder", backend="synthetic", name="random", details={"vector_size": SIZE, "sparse_idf": True}
        )

    def _one(self, words: int) -> Embedding:
        dense = self._draw.normal(size=SIZE)
        tokens = sorted({int(token) % VOCABULARY for token in self._draw.zipf(1.3, size=words)})
        return Embedding(
            dense=tuple((dense / np.linalg.norm(dense)).tolist()),
            sparse=SparseVector(indices=tuple(tokens), values=(1.0,) * len(tokens)),
        )


def passages(count: int) -> list[Passage]:
    """Return passages of ordinary length, 200 a job."""
    draw = random.Random(1)
    return [
        Passage(
            passage_id=passage_id("bench", "talks", f"job-{n // 200}", n % 200),
            job_id=f"job-{n // 200}",
            recording="talk.wav",
            position=n % 200,
            start_s=n * 10.0,
            end_s=n * 10.0 + 9.0,
            speakers=("SPEAKER_00",),
            language="en",
            text=" ".join(f"w{draw.randrange(VOCABULARY)}" for _ in range(WORDS)),
        )
        for n in range(count)
    ]


async def compare(count: int, searches: int) -> tuple[list[float], list[float]]:
    """Return CPU seconds of ``searches`` raw Qdrant queries, and of as many searches by the flow, taken in turn."""
    connection, embedder = LocalConnection(IN_MEMORY), SyntheticEmbedder()
    store, info = QdrantPassageStore(connection), await embedder.info()
    try:
        await store.ensure_collection("bench", "talks", info)
        all_passages = passages(count)
        await store.upsert("bench", "talks", all_passages, await embedder.embed_passages([""] * count))
        raw, ours = [], []
        request = SearchRequest(query="?", collections=("talks",))
        for _ in range(searches):
            raw.append(await _raw(connection, await embedder.embed_query("?")))
            started = time.process_time()
            await search_passages(embedder, store, "bench", request)
            ours.append(time.process_time() - started)
        return raw, ours
    finally:
        await store.close()


async def _raw(connection: LocalConnection, query: Embedding) -> float:
    """Time what cannot be saved: the two searches, in qdrant-client's own words, in its thread."""
    requests = stage_requests(query, mode="hybrid", top_k=10, filters=SearchFilters())
    client: Any = connection._client
    assert isinstance(client, QdrantClient)
    name = client.get_collections().collections[0].name
    started = time.process_time()
    await asyncio.to_thread(client.query_batch_points, collection_name=name, requests=list(requests.values()))
    return time.process_time() - started


async def gather_questions(at_once: int) -> tuple[float, float, float]:
    """Return questions a batch, seconds for all at once, and seconds for one after the other."""
    embedder = await MiniLmEmbedder.load()
    try:
        questions = [f"what was said about subject number {n} of the course" for n in range(at_once)]
        await embedder.embed_query("warm up")
        started = time.perf_counter()
        for question in questions:
            await embedder.embed_query(question)
        one_by_one = time.perf_counter() - started
        batches, items = embedder._calls.batches, embedder._calls.items
        started = time.perf_counter()
        await asyncio.gather(*(embedder.embed_query(question) for question in questions))
        together = time.perf_counter() - started
        return (embedder._calls.items - items) / (embedder._calls.batches - batches), together, one_by_one
    finally:
        embedder.close()


async def run(options: argparse.Namespace) -> None:
    """Print the tables."""
    print(
        "| passages | Qdrant, CPU ms at p50 | search | search at p99 | added at p50 |\n| --- | --- | --- | --- | --- |"
    )
    for count in options.passages:
        raw, ours = await compare(count, options.searches)
        cells = [median(raw), median(ours), quantiles(ours, n=100)[98], median(ours) - median(raw)]
        print(f"| {count} | " + " | ".join(f"{1_000 * cell:.1f}" for cell in cells) + " |", flush=True)
    fill, together, one_by_one = await gather_questions(options.at_once)
    print(f"\n{options.at_once} questions at once: {fill:.1f} a batch, {one_by_one / together:.1f} × the throughput")


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, nargs="*", default=[5_000, 20_000])
    parser.add_argument("--searches", type=int, default=30)
    parser.add_argument("--at-once", type=int, default=32)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
