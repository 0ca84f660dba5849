"""What the contract of JobQueue runs on: the fake, and DBOS on SQLite or PostgreSQL, with fakes that can be held."""

import asyncio
from typing import Protocol

from pipelines.domain.audio import Window
from pipelines.domain.job import JobEvent, NewJob
from pipelines.domain.speakers import Diarization, DiarizationOptions
from pipelines.domain.transcript import TranscriptionOptions, WindowTranscript
from pipelines.errors import InvalidRequest
from pipelines.fakes.jobs import InMemoryJobQueue
from pipelines.fakes.models import FakeDiarizer, FakeTranscriber
from pipelines.jobs.dbos.queue import DbosJobQueue
from pipelines.jobs.dbos.runner import DbosJobRunner, RunnerOptions
from pipelines.jobs.ports import RecordingPorts
from pipelines.jobs.run import RequestPorts, job_flows, run_job
from pipelines.jobs.submit import QueueLimits
from pipelines.ports.jobs import JobQueue

LIMITS = QueueLimits(per_tenant=4, total=6)


class Harness(Protocol):
    """A queue, and what runs its jobs."""

    @property
    def queue(self) -> JobQueue: ...
    async def start(self, ports: RecordingPorts, requests: RequestPorts | None = None) -> None: ...
    async def close(self) -> None: ...


class FakeHarness:
    def __init__(self) -> None:
        self.queue = InMemoryJobQueue(limits=LIMITS)

    async def start(self, ports: RecordingPorts, requests: RequestPorts | None = None) -> None:
        flows = job_flows(ports, requests)
        await self.queue.start(lambda job, steps: run_job(flows, job, steps))

    async def close(self) -> None:
        await self.queue.close()


class DbosHarness:
    def __init__(self, url: str, queue: DbosJobQueue) -> None:
        self._url = url
        self.queue = queue
        self._runner: DbosJobRunner | None = None

    async def start(self, ports: RecordingPorts, requests: RequestPorts | None = None) -> None:
        options = RunnerOptions(concurrency=1, polling_interval_s=0.02)
        self._runner = await DbosJobRunner.launch(self._url, ports, options, requests=requests)

    async def close(self) -> None:
        if self._runner:
            await self._runner.close()
        await self.queue.close()


class GatedTranscriber(FakeTranscriber):
    """Waits in every window until the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        self.entered.set()
        await self.gate.wait()
        return await super().transcribe(window, options)


class RefusingDiarizer(FakeDiarizer):
    """Fails until it is repaired."""

    broken = True

    async def diarize(self, samples: object, options: DiarizationOptions) -> Diarization:
        if self.broken:
            raise InvalidRequest("this voice cannot be diarized", "num_speakers")
        return await super().diarize(samples, options)


async def collect(queue: JobQueue, job: NewJob, after: int = -1) -> list[JobEvent]:
    async with asyncio.timeout(30):
        return [event async for event in queue.events(job.tenant, job.job_id, after=after)]
