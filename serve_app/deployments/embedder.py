"""Text to vectors: questions of many clients meet in one batch."""

from pipelines.domain.model import ModelInfo
from pipelines.domain.passage import Embedding
from serve_app.metrics import RayMetrics, configure_logs
from serve_app.models.chain import ModelChain
from serve_app.models.engines import embedder_loaders
from serve_app.models.health import ModelHealth, probe_embedder
from serve_app.settings import Settings

_LONGEST_CALL_S = 300.0
"""A batch of passages behind those of many jobs."""


class EmbedderDeployment:
    """Owns one embedding model. The engine admits one call at a time: its tokenizer is not re-entrant."""

    async def __init__(self, settings: Settings) -> None:
        configure_logs(settings.log_level)
        loaders = embedder_loaders(settings.embedder)
        self._chain = await ModelChain.load("embedder", settings.embedder.chain, loaders, settings.data, RayMetrics())
        self._health = ModelHealth(self._chain, probe_embedder, longest_call_s=_LONGEST_CALL_S)

    async def embed_passages(self, texts: tuple[str, ...]) -> tuple[Embedding, ...]:
        """Embed texts to be found."""
        return await self._chain.call(lambda engine: engine.embed_passages(texts))

    async def embed_query(self, text: str) -> Embedding:
        """Embed a question."""
        return await self._chain.call(lambda engine: engine.embed_query(text))

    async def info(self) -> ModelInfo:
        """Say what is loaded."""
        return await self._chain.info()

    async def check_health(self) -> None:
        """Be replaced where a known input is not answered right; Serve calls this every few seconds."""
        await self._health.check()
