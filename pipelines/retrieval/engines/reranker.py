"""Reranker over a FlagEmbedding cross-encoder, bge-reranker-v2-m3 by default."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.batching import DynamicBatcher
from pipelines.domain.model import RerankerInfo, Urgency
from pipelines.engine_errors import model_errors
from pipelines.retrieval.engines.flag_models import (
    describe_flag_model,
    half_precision,
    load_flag_model,
)

MAX_TOKENS = 512
"""For question and passage together."""
BATCH_SIZE = 32
_MAX_WAITING = 8_192
"""Pairs: the candidates of many questions at once."""
_Batcher = DynamicBatcher[tuple[str, str], float]


class BgeReranker:
    """Implements Reranker; pairs of concurrent callers meet in one batch."""

    def __init__(self, model: Any, info: RerankerInfo, *, batch_size: int = BATCH_SIZE) -> None:
        self._model = model
        self._info = info
        self._batcher: _Batcher = DynamicBatcher(self._judge, batch_size=batch_size, max_waiting=_MAX_WAITING)

    @classmethod
    async def load(
        cls,
        folder: Path,
        *,
        name: str = "bge-reranker-v2-m3",
        device: str = "cpu",
        threads: int | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> "BgeReranker":
        """Load from a folder as BAAI publishes it. Raises ModelUnavailable."""
        return await asyncio.to_thread(cls._load, folder, name, device, threads, batch_size)

    @classmethod
    def _load(cls, folder: Path, name: str, device: str, threads: int | None, batch_size: int) -> "BgeReranker":
        model = load_flag_model(lambda: _build(folder, device), name, threads=threads)
        info = describe_flag_model(
            RerankerInfo,
            name,
            folder,
            device=device,
            capabilities=("rerank",),
            description="Judges each passage together with the question",
            max_tokens=MAX_TOKENS,
        )
        return cls(model, info, batch_size=batch_size)

    async def rerank(self, query: str, texts: Sequence[str]) -> tuple[float, ...]:
        """Return the sigmoid of the model's logit for each text."""
        return tuple(await self._batcher.submit_all([(query, text) for text in texts], urgency=Urgency.WAITING))

    async def info(self) -> RerankerInfo:
        """Say what is loaded."""
        return replace(self._info, batch_size=self._batcher.batch_size)

    async def close(self) -> None:
        """Let the batch under way end, refuse what waits, and stop the model's thread."""
        await self._batcher.close()

    def _judge(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Run the library's model once; its own ``compute_score`` runs the first batch twice."""
        import torch

        with model_errors("the reranker"), torch.inference_mode():
            batch = self._model.tokenizer(
                [query for query, _ in pairs],
                [text for _, text in pairs],
                truncation="longest_first",
                max_length=MAX_TOKENS,
                padding=True,
                return_tensors="pt",
            ).to(self._info.device)
            logits = self._model.model(**batch, return_dict=True).logits.view(-1).float().tolist()
        return [1 / (1 + math.exp(-min(max(logit, -60.0), 60.0))) for logit in logits]


def _build(folder: Path, device: str) -> Any:
    from FlagEmbedding import FlagReranker

    model = FlagReranker(str(folder), use_fp16=half_precision(device), devices=device)
    model.model.to(device).eval()
    if half_precision(device):
        model.model.half()
    return model
