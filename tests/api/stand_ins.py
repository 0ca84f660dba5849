"""What the application is given in these tests, where the product ships no fake of it."""

import asyncio
import wave
from collections.abc import AsyncGenerator, Mapping

import numpy as np

from pipelines.domain.audio import AudioExtent, Recording, TimeSpan, Window, WindowingOptions
from pipelines.domain.job import Upload
from pipelines.errors import UnsupportedMedia
from pipelines.ports import ArtifactStore
from pipelines.samples import Samples
from serve_app.services import DeploymentState


class WaveReader:
    """A RecordingReader of 16 kHz WAV files: one window each, all of it speech."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    async def probe(self, upload: Upload) -> Recording:
        samples = await asyncio.to_thread(self._read, upload.artifact)
        return Recording(
            filename=upload.filename,
            sha256=upload.sha256,
            bytes=upload.bytes,
            duration_s=len(samples) / 16_000,
            container="wav",
            codec="pcm_s16le",
            channels=1,
            sample_rate_hz=16_000,
        )

    async def windows(
        self, artifact: str, options: WindowingOptions, *, first_index: int = 0
    ) -> AsyncGenerator[Window | AudioExtent, None]:
        samples = await asyncio.to_thread(self._read, artifact)
        end_s = len(samples) / 16_000
        speech = (TimeSpan(start_s=0.0, end_s=end_s),)
        if samples.any():
            yield Window(index=0, start_s=0.0, end_s=end_s, speech=speech, samples=samples)
        yield AudioExtent(duration_s=end_s, speech_s=end_s if samples.any() else 0.0)

    async def samples(self, artifact: str, *, max_duration_s: float) -> object:
        return await asyncio.to_thread(self._read, artifact)

    def _read(self, artifact: str) -> Samples:
        try:
            with self._artifacts.open(artifact) as file, wave.open(file) as wav:
                return np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2").astype(np.int16)
        except (wave.Error, EOFError):
            raise UnsupportedMedia("this is not a recording that can be decoded", "file") from None


class QuietCluster:
    """A ClusterStatus with one deployment."""

    def __init__(self) -> None:
        self.breaker_states: dict[str, str] = {"qdrant": "closed"}

    async def deployments(self) -> tuple[DeploymentState, ...]:
        return (DeploymentState(name="Transcriber", status="HEALTHY", replicas=1),)

    def breakers(self) -> Mapping[str, str]:
        return self.breaker_states
