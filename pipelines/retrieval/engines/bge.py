"""Embedder over BGE-M3 (Chen et al. 2024): one pass of one model gives the dense vector and the word weights."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.batching import DynamicBatcher
from pipelines.domain.model import EmbedderInfo, Urgency
from pipelines.domain.passage import Embedding, SparseVector
from pipelines.engine_errors import model_errors
from pipelines.retrieval.engines.flag_models import (
    describe_flag_model,
    half_precision,
    load_flag_model,
    tokenize,
)

MAX_TOKENS = 1024
"""A passage of 100 words has about 150 tokens in any language; the model itself reads 8,192."""
BATCH_SIZE = 32
_MAX_WAITING = 8_192
"""Texts: a batch of passages from each of many jobs, and questions beside them."""
"""Urgency: somebody waits for the answer to a question."""
_Batcher = DynamicBatcher[str, Embedding]
SIMILAR = 0.5
"""Cosine from which a passage is taken to answer a question. An estimate: BGE-M3 puts unrelated texts at 0.3–0.45."""


class BgeEmbedder:
    """Implements Embedder; texts of concurrent callers meet in one batch, questions first."""

    def __init__(self, model: Any, info: EmbedderInfo, *, batch_size: int = BATCH_SIZE) -> None:
        self._model = model
        self._info = info
        self._ignored = _special_tokens(model.tokenizer)
        self._batcher: _Batcher = DynamicBatcher(self._embed, batch_size=batch_size, max_waiting=_MAX_WAITING)

    @classmethod
    async def load(
        cls,
        folder: Path,
        *,
        name: str = "bge-m3",
        device: str = "cpu",
        threads: int | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> "BgeEmbedder":
        """Load from a folder as BAAI publishes it. Raises ModelUnavailable."""
        return await asyncio.to_thread(cls._load, folder, name, device, threads, batch_size)

    @classmethod
    def _load(cls, folder: Path, name: str, device: str, threads: int | None, batch_size: int) -> "BgeEmbedder":
        model = load_flag_model(lambda: _build(folder, device), name, threads=threads)
        info = describe_flag_model(
            EmbedderInfo,
            name,
            folder,
            device=device,
            capabilities=("dense", "sparse"),
            description="Multilingual embeddings, dense and lexical",
            vector_size=model.model.model.config.hidden_size,
            max_tokens=MAX_TOKENS,
            similar=SIMILAR,
        )
        return cls(model, info, batch_size=batch_size)

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        """Embed texts to be found."""
        return tuple(await self._batcher.submit_all(texts, urgency=Urgency.BULK))

    async def embed_query(self, text: str) -> Embedding:
        """Embed a question, before any passages that wait; BGE-M3 wants no instruction in front of it."""
        return await self._batcher.submit(text, key=None, urgency=Urgency.WAITING)

    async def info(self) -> EmbedderInfo:
        """Say what is loaded."""
        return replace(self._info, batch_size=self._batcher.batch_size)

    async def close(self) -> None:
        """Let the batch under way end, refuse what waits, and stop the model's thread."""
        await self._batcher.close()

    def _embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Run the library's model once; its own ``encode`` runs the first batch twice (see MiniLmEmbedder)."""
        import torch

        with model_errors("the embedder"), torch.inference_mode():
            batch = tokenize(self._model.tokenizer, texts, max_tokens=MAX_TOKENS, device=self._info.device)
            output = self._model.model(batch, return_dense=True, return_sparse=True)
            dense = output["dense_vecs"].float().tolist()
            weights = output["sparse_vecs"].squeeze(-1).float().tolist()
        return [
            Embedding(dense=tuple(vector), sparse=self._sparse(tokens, token_weights))
            for vector, tokens, token_weights in zip(dense, batch["input_ids"].tolist(), weights, strict=True)
        ]

    def _sparse(self, tokens: Sequence[int], token_weights: Sequence[float]) -> SparseVector:
        """Return each token's largest weight, as ``lexical_weights`` has them."""
        weights: dict[int, float] = {}
        for token, weight in zip(tokens, token_weights, strict=True):
            if token not in self._ignored and weight > weights.get(token, 0.0):
                weights[token] = weight
        indices = tuple(sorted(weights))
        return SparseVector(indices=indices, values=tuple(weights[index] for index in indices))


def _special_tokens(tokenizer: Any) -> frozenset[int]:
    names = ("cls_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
    return frozenset(getattr(tokenizer, name) for name in names if getattr(tokenizer, name, None) is not None)


def _build(folder: Path, device: str) -> Any:
    from FlagEmbedding import BGEM3FlagModel

    model = BGEM3FlagModel(str(folder), use_fp16=half_precision(device), devices=device)
    model.model.to(device).eval()
    return model
