"""Judges passages against a question."""

from pipelines.domain.model import ModelInfo
from serve_app.metrics import RayMetrics, configure_logs
from serve_app.models.chain import ModelChain
from serve_app.models.engines import reranker_loaders
from serve_app.models.health import ModelHealth, probe_reranker
from serve_app.settings import Settings

_LONGEST_CALL_S = 300.0
"""The candidates of a question behind those of many."""


class RerankerDeployment:
    """Owns one cross-encoder."""

    async def __init__(self, settings: Settings) -> None:
        configure_logs(settings.log_level)
        loaders = reranker_loaders(settings.reranker)
        self._chain = await ModelChain.load("reranker", settings.reranker.chain, loaders, settings.data, RayMetrics())
        self._health = ModelHealth(self._chain, probe_reranker, longest_call_s=_LONGEST_CALL_S)

    async def rerank(self, query: str, texts: tuple[str, ...]) -> tuple[float, ...]:
        """Score each text against the query."""
        return await self._chain.call(lambda engine: engine.rerank(query, texts))

    async def info(self) -> ModelInfo:
        """Say what is loaded."""
        return await self._chain.info()

    async def check_health(self) -> None:
        """Be replaced where a known input is not answered right; Serve calls this every few seconds."""
        await self._health.check()
