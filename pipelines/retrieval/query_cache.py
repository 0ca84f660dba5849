"""An Embedder that remembers questions: people ask the same thing twice, and a page asks it again with each filter."""

import time
from collections.abc import Callable, Sequence

from cachetools import LRUCache

from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Embedding
from pipelines.ports.models import Embedder

MAX_AGE_S = 5.0
"""How long a model is believed to be there, and the one that was last asked."""

OnLookup = Callable[[bool], None]
"""Told of each question whether it was known."""


class CachedQueries:
    """Implements Embedder over another one; passages pass through."""

    def __init__(
        self,
        embedder: Embedder,
        *,
        size: int = 2_048,
        clock: Callable[[], float] = time.monotonic,
        on_lookup: OnLookup | None = None,
    ) -> None:
        """Keep the ``size`` questions that were asked last; 2,048 of 1,024 numbers are about 60 MB."""
        self._embedder = embedder
        self._on_lookup = on_lookup
        self._clock = clock
        self._vectors: LRUCache[str, Embedding] = LRUCache(maxsize=size)
        self._info: EmbedderInfo | None = None
        self._asked_at = 0.0
        self.hits = 0
        self.misses = 0

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        """Embed texts to be found."""
        return await self._embedder.embed_passages(texts)

    async def embed_query(self, text: str) -> Embedding:
        """Embed a question, or remember how it was embedded."""
        await self.info()
        known = self._vectors.get(text)
        self._count(known is not None)
        if known is not None:
            return known
        model, vector = self._info, await self._embedder.embed_query(text)
        if model is self._info and self._vectors.maxsize:
            self._vectors[text] = vector
        return vector

    async def info(self) -> EmbedderInfo:
        """Say what is loaded, at most ``MAX_AGE_S`` late; another model makes all questions new."""
        if self._info is None or self._clock() - self._asked_at > MAX_AGE_S:
            now = await self._embedder.info()
            if self._info is None or (now.name, now.checkpoint_hash) != (self._info.name, self._info.checkpoint_hash):
                self._vectors.clear()
                self._info = now
            self._asked_at = self._clock()
        return self._info

    def _count(self, hit: bool) -> None:
        self.hits += hit
        self.misses += not hit
        if self._on_lookup is not None:
            self._on_lookup(hit)
