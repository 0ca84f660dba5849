"""A runner to be killed: ``python -m tests.faults.runner_process DATABASE_URL FOLDER``, with fakes for engines.

Artifacts are in ``FOLDER/artifacts``, calls are written down and held in ``FOLDER/rehearsal``. It prints ``starting``
and, once it runs jobs, ``ready``.
"""

import asyncio
import sys
from pathlib import Path

from pipelines.audio.decode import PyavDecoder
from pipelines.audio.reader import LocalReader
from pipelines.domain.audio import Recording
from pipelines.domain.job import Upload
from pipelines.fakes.models import FakeDiarizer, FakeEmbedder, FakeSpeechDetector, FakeTranscriber
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.fakes.rehearsal import Rehearsal
from pipelines.jobs.dbos.runner import DbosJobRunner, RunnerOptions
from pipelines.jobs.ports import RecordingPorts
from pipelines.stores.artifacts import FsspecArtifactStore


class RehearsedReader(LocalReader):
    """A reader whose probing can be held."""

    def __init__(self, rehearsal: Rehearsal, artifacts: FsspecArtifactStore) -> None:
        super().__init__(artifacts.open, PyavDecoder(), lambda options: FakeSpeechDetector())
        self._rehearsal = rehearsal

    async def probe(self, upload: Upload) -> Recording:
        await self._rehearsal.enter("probe", upload.filename)
        return await super().probe(upload)


async def serve(database_url: str, folder: Path) -> None:
    rehearsal = Rehearsal(folder / "rehearsal")
    artifacts = FsspecArtifactStore(str(folder / "artifacts"))
    ports = RecordingPorts(
        reader=RehearsedReader(rehearsal, artifacts),
        transcriber=FakeTranscriber(rehearsal),
        artifacts=artifacts,
        diarizer=FakeDiarizer(rehearsal),
        embedder=FakeEmbedder(rehearsal),
        passages=InMemoryPassageStore(),
    )
    say("starting")
    await DbosJobRunner.launch(
        database_url,
        ports,
        RunnerOptions(concurrency=1, concurrency_per_tenant=1, polling_interval_s=0.02, reaping_interval_s=0.5),
    )
    say("ready")
    await asyncio.Event().wait()


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2])))
