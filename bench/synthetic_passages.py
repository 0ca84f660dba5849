"""Collections of any size without a model: random vectors, made-up words, and an application that serves them."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Embedding, Passage, SparseVector
from pipelines.ports.passages import PassageStore
from pipelines.retrieval.passages import passage_id
from pipelines.retrieval.words import weigh_passage
from pipelines.stores.qdrant.passages import QdrantPassageStore

VOCABULARY = 20_000
WORDS = 25
TENANT, COLLECTION = "default", "speed-bench"
"""The tenant that the local profile gives to everybody."""
_STEP = 2_000


class SyntheticEmbedder:
    """Random vectors, drawn anew for every text, at no cost worth measuring."""

    def __init__(self, info: EmbedderInfo | None = None, *, seed: int = 1) -> None:
        """Pretend to be the embedder that ``info`` describes."""
        self._info = info or EmbedderInfo(backend="synthetic", name="random", vector_size=384, sparse_idf=True)
        self._size = self._info.vector_size
        self._draw = np.random.default_rng(seed)

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        """Draw a vector for each text; its words are its own."""
        return tuple(Embedding(dense=self._dense(), sparse=weigh_passage(text)) for text in texts)

    async def embed_query(self, text: str) -> Embedding:
        """Draw a vector and four words."""
        tokens = weigh_passage(made_up(int(self._draw.integers(1 << 30)), 4)).indices
        return Embedding(dense=self._dense(), sparse=SparseVector(indices=tokens, values=(1.0,) * len(tokens)))

    async def info(self) -> EmbedderInfo:
        """Describe them."""
        return self._info

    def _dense(self) -> tuple[float, ...]:
        vector = self._draw.normal(size=self._size)
        return tuple((vector / np.linalg.norm(vector)).tolist())


def made_up(seed: int, words: int) -> str:
    """Return a text of made-up words, few of them frequent, as in any language (Zipf)."""
    draw = np.random.default_rng(seed)
    return " ".join(f"w{int(token) % VOCABULARY}" for token in draw.zipf(1.3, size=words))


def questions(count: int, *, seed: int = 5) -> list[str]:
    """Return questions that nobody asked before: no cache knows one of them."""
    draw = random.Random(seed)
    return [f"what about {made_up(draw.randrange(1 << 30), 4)} in case {number}" for number in range(count)]


def synthetic_passages(first: int, count: int) -> list[Passage]:
    """Return passages of ordinary length, numbered from ``first``, 200 a job."""
    return [
        Passage(
            passage_id=passage_id(TENANT, COLLECTION, f"job-{n // 200}", n % 200),
            job_id=f"job-{n // 200}",
            recording="talk.wav",
            position=n % 200,
            start_s=n * 10.0,
            end_s=n * 10.0 + 9.0,
            speakers=("SPEAKER_00",),
            language="en",
            text=made_up(n, WORDS),
        )
        for n in range(first, first + count)
    ]


async def fill(store: PassageStore, count: int, info: EmbedderInfo | None = None) -> None:
    """Write so many passages, and say how far it is."""
    embedder = SyntheticEmbedder(info)
    await store.ensure_collection(TENANT, COLLECTION, await embedder.info())
    for first in range(0, count, _STEP):
        passages = synthetic_passages(first, min(_STEP, count - first))
        texts = [passage.text for passage in passages]
        vectors = await embedder.embed_passages(texts)
        await store.upsert(TENANT, COLLECTION, passages, vectors, embedder=await embedder.info())
        print(f"  {first + len(passages):,} of {count:,} passages written", flush=True)


@asynccontextmanager
async def filled(
    location: Path | str, count: int, info: EmbedderInfo | None = None
) -> AsyncIterator[QdrantPassageStore]:
    """Open a store with so many passages in it; it stays as it is."""
    store = await QdrantPassageStore.open(location)
    try:
        await fill(store, count, info)
        yield store
    finally:
        await store.close()
