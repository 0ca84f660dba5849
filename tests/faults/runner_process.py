"""A runner to be killed: ``python -m tests.faults.runner_process DATABASE_URL FOLDER``, with fakes for engines.

A file ``hold-NAME`` in the folder makes every call of that name wait until the file is gone. Each call that is let
through is one line of ``calls.log``. It prints ``starting`` and, once it runs jobs, ``ready``.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.domain.audio import Recording, Window
from pipelines.domain.job import Upload
from pipelines.domain.passage import Embedding
from pipelines.domain.transcript import Diarization, DiarizationOptions, TranscriptionOptions, WindowTranscript
from pipelines.engines.local_reader import LocalReader
from pipelines.engines.pyav_decoder import PyavDecoder
from pipelines.fakes.models import FakeDiarizer, FakeEmbedder, FakeSpeechDetector, FakeTranscriber
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.flows.recording_ports import RecordingPorts
from pipelines.stores.dbos_runner import DbosJobRunner, RunnerOptions
from pipelines.stores.fsspec_artifacts import FsspecArtifactStore


class Turnstile:
    """Lets calls through one by one, and writes them down."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def enter(self, name: str, detail: object = "") -> None:
        self._note(f"{name}? {detail}")
        while (self._folder / f"hold-{name}").exists():  # noqa: ASYNC110  (another process decides)
            await asyncio.sleep(0.01)
        self._note(f"{name} {detail}")

    def _note(self, line: str) -> None:
        with (self._folder / "calls.log").open("a") as log:
            log.write(f"{line}\n")


class HeldReader(LocalReader):
    def __init__(self, turnstile: Turnstile, artifacts: FsspecArtifactStore) -> None:
        super().__init__(artifacts.open, PyavDecoder(), lambda options: FakeSpeechDetector())
        self._turnstile = turnstile

    async def probe(self, upload: Upload) -> Recording:
        await self._turnstile.enter("prepare")
        return await super().probe(upload)


class HeldTranscriber(FakeTranscriber):
    def __init__(self, turnstile: Turnstile) -> None:
        super().__init__()
        self._turnstile = turnstile

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        await self._turnstile.enter("transcribe" if window.index else "first-window", window.index)
        return await super().transcribe(window, options)


class HeldDiarizer(FakeDiarizer):
    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile

    async def diarize(self, samples: object, options: DiarizationOptions) -> Diarization:
        await self._turnstile.enter("diarize")
        return await super().diarize(samples, options)


class HeldEmbedder(FakeEmbedder):
    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        await self._turnstile.enter("index")
        return await super().embed_passages(texts)


async def serve(database_url: str, folder: Path) -> None:
    turnstile = Turnstile(folder)
    artifacts = FsspecArtifactStore(str(folder / "artifacts"))
    ports = RecordingPorts(
        reader=HeldReader(turnstile, artifacts),
        transcriber=HeldTranscriber(turnstile),
        artifacts=artifacts,
        diarizer=HeldDiarizer(turnstile),
        embedder=HeldEmbedder(turnstile),
        passages=InMemoryPassageStore(),
    )
    sys.stdout.write("starting\n")
    sys.stdout.flush()
    await DbosJobRunner.launch(database_url, ports, RunnerOptions(polling_interval_s=0.02))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2])))
