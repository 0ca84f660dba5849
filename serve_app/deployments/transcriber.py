"""Speech recognition: windows of all jobs, requests and calls meet in this replica's batch."""

from dataclasses import replace

from pipelines.domain.audio import Window
from pipelines.domain.model import ModelInfo
from pipelines.domain.samples import Samples
from pipelines.domain.transcript import LanguageGuess, TranscriptionOptions, WindowTranscript
from serve_app.metrics import RayMetrics, configure_logs
from serve_app.models.chain import ModelChain
from serve_app.models.engines import transcriber_loaders
from serve_app.models.health import ModelHealth, probe_transcriber
from serve_app.settings import Settings

_LONGEST_CALL_S = 900.0
"""A window, 30 s of audio, in a full queue on the slowest CPU."""


class TranscriberDeployment:
    """Owns one speech recognizer. The engine batches: Serve's batching knows neither urgency nor equal options."""

    async def __init__(self, settings: Settings) -> None:
        configure_logs(settings.log_level)
        self._metrics = RayMetrics()
        loaders = transcriber_loaders(settings.transcriber, self._metrics)
        self._chain = await ModelChain.load("asr", settings.transcriber.chain, loaders, settings.data, self._metrics)
        self._health = ModelHealth(self._chain, probe_transcriber, longest_call_s=_LONGEST_CALL_S)

    async def transcribe(self, samples: Samples, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        """Decode one window, whose samples Ray resolved as a top-level argument."""
        transcript = await self._chain.call(lambda engine: engine.transcribe(replace(window, samples=samples), options))
        self._metrics.count("windows_decoded", outcome="redecoded" if transcript.redecoded else "first_try")
        return transcript

    async def detect_language(self, samples: Samples, window: Window) -> LanguageGuess:
        """Guess the language of one window."""
        return await self._chain.call(lambda engine: engine.detect_language(replace(window, samples=samples)))

    async def info(self) -> ModelInfo:
        """Say what is loaded."""
        return await self._chain.info()

    async def check_health(self) -> None:
        """Be replaced where a known input is not answered right; Serve calls this every few seconds."""
        await self._health.check()
