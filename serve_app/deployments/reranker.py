"""Judges passages against a question."""

from pipelines.domain.model import ModelInfo
from serve_app.engines import describe, reranker_loaders
from serve_app.logs import configure_logs
from serve_app.metrics import RayMetrics
from serve_app.model_chain import load_first
from serve_app.settings import Settings


class RerankerDeployment:
    """Owns one cross-encoder."""

    async def __init__(self, settings: Settings) -> None:
        configure_logs(settings.log_level)
        loaders = reranker_loaders(settings.reranker)
        loaded = await load_first("reranker", settings.reranker.chain, loaders, settings.data, RayMetrics())
        self._engine = loaded.engine
        self._info = await describe(loaded)

    async def rerank(self, query: str, texts: tuple[str, ...]) -> tuple[float, ...]:
        """Score each text against the query."""
        return await self._engine.rerank(query, texts)

    async def info(self) -> ModelInfo:
        """Say what is loaded."""
        return self._info
