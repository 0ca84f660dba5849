"""Who speaks when: one recording at a time a replica, because pyannote's pipeline is not re-entrant."""

from collections.abc import Sequence

from pipelines.domain.audio import RecordingPiece
from pipelines.domain.model import ModelInfo
from pipelines.domain.samples import Samples
from pipelines.domain.speakers import Diarization, DiarizationOptions
from serve_app.metrics import RayMetrics, configure_logs
from serve_app.models.chain import ModelChain
from serve_app.models.engines import diarizer_loaders
from serve_app.models.health import ModelHealth, probe_diarizer
from serve_app.settings import Settings

_LONGEST_CALL_S = 3 * 3600.0
"""Twice the longest recording, on a CPU, one behind the other."""


class DiarizerDeployment:
    """Owns one diarization pipeline."""

    async def __init__(self, settings: Settings) -> None:
        configure_logs(settings.log_level)
        loaders = diarizer_loaders(settings.diarizer)
        self._chain = await ModelChain.load("diarizer", settings.diarizer.chain, loaders, settings.data, RayMetrics())
        self._health = ModelHealth(self._chain, probe_diarizer, longest_call_s=_LONGEST_CALL_S)

    async def diarize(self, samples: Samples, options: DiarizationOptions) -> Diarization:
        """Diarize a whole recording, which Ray resolved as a top-level argument."""
        return await self._chain.call(lambda engine: engine.diarize(samples, options))

    async def hear(self, samples: Samples, piece: RecordingPiece) -> bytes:
        """Hear one piece of a recording."""
        return await self._chain.call(lambda engine: engine.hear(samples, piece))

    async def tell_apart(self, heard: Sequence[bytes], options: DiarizationOptions) -> Diarization:
        """Put together what was heard, here and in other replicas."""
        return await self._chain.call(lambda engine: engine.tell_apart(heard, options))

    async def info(self) -> ModelInfo:
        """Say what is loaded."""
        return await self._chain.info()

    async def check_health(self) -> None:
        """Be replaced where a known input is not answered right; Serve calls this every few seconds."""
        await self._health.check()
