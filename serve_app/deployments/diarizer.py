"""Who speaks when: one recording at a time a replica, because pyannote's pipeline is not re-entrant."""

from pipelines.domain.model import ModelInfo
from pipelines.domain.samples import Samples
from pipelines.domain.speakers import Diarization, DiarizationOptions
from serve_app.metrics import RayMetrics, configure_logs
from serve_app.models.chain import ModelChain
from serve_app.models.engines import diarizer_loaders
from serve_app.settings import Settings


class DiarizerDeployment:
    """Owns one diarization pipeline."""

    async def __init__(self, settings: Settings) -> None:
        configure_logs(settings.log_level)
        loaders = diarizer_loaders(settings.diarizer)
        self._chain = await ModelChain.load("diarizer", settings.diarizer.chain, loaders, settings.data, RayMetrics())

    async def diarize(self, samples: Samples, options: DiarizationOptions) -> Diarization:
        """Diarize a whole recording, which Ray resolved as a top-level argument."""
        return await self._chain.call(lambda engine: engine.diarize(samples, options))

    async def info(self) -> ModelInfo:
        """Say what is loaded."""
        return await self._chain.info()
