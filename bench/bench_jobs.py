"""What a job costs besides its models: acknowledging it, picking it up, and waiting for the next one.

    python -m bench.bench_jobs --jobs 100 --at-once 16 --idle-s 10 [--polling-s 0.05] [--database-url URL]

Client and runner share one process and the fakes stand in for models, so that what is measured is the queue's own.
Goals on a quiet machine: enqueue p50 at most 20 ms, pick-up p50 at most 100 ms, idle at most 5 % of one core.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence

from bench.machine import machine
from pipelines.audio.decode import PyavDecoder
from pipelines.audio.reader import LocalReader
from pipelines.domain.audio import Recording
from pipelines.domain.job import NewJob, Upload
from pipelines.fakes.models import FakeSpeechDetector
from pipelines.jobs.dbos.queue import DbosJobQueue
from pipelines.jobs.dbos.runner import DbosJobRunner, RunnerOptions
from pipelines.jobs.ports import RecordingPorts
from pipelines.jobs.submit import QueueLimits
from pipelines.ports.artifacts import ArtifactStore
from tests.jobs.recordings import fake_ports, new_job


class ClockedReader(LocalReader):
    """Notes when each job's first stage begins."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        super().__init__(artifacts.open, PyavDecoder(), lambda options: FakeSpeechDetector())
        self.began: dict[str, float] = {}

    async def probe(self, upload: Upload) -> Recording:
        """Note the time of the first stage's call."""
        self.began[upload.filename] = time.monotonic()
        return await super().probe(upload)


async def measure(options: argparse.Namespace, folder: str) -> dict[str, object]:
    """Return all figures, in the order in which they were taken."""
    url = options.database_url or f"sqlite:///{folder}/jobs.sqlite"
    ports = await fake_ports()
    reader = ClockedReader(ports.artifacts)
    queue = await DbosJobQueue.connect(url, QueueLimits(per_tenant=100_000, total=100_000))
    figures: dict[str, object] = {"machine": machine()}
    try:
        figures["enqueue_one_by_one_ms"] = spread(await enqueue(queue, options.jobs, at_once=1))
        figures["enqueue_at_once_ms"] = spread(await enqueue(queue, options.jobs, at_once=options.at_once))
        await empty(queue)
        runner = await DbosJobRunner.launch(url, await clocked(ports, reader), runner_options(options))
        try:
            figures["pick_up_ms"] = spread(await pick_up(queue, reader, options.jobs // 4))
            figures["short_job_ms"] = spread(await whole_jobs(queue, options.jobs // 4))
            figures["idle_cpu_percent_of_a_core"] = await idle(options.idle_s)
        finally:
            await runner.close()
    finally:
        await queue.close()
    return figures


async def clocked(ports: RecordingPorts, reader: ClockedReader) -> RecordingPorts:
    """Return the same ports with a reader that notes times."""
    return await fake_ports(ports.artifacts, reader=reader)


def runner_options(options: argparse.Namespace) -> RunnerOptions:
    """Return what the local profile uses, but for what the command line says."""
    return RunnerOptions(concurrency=1, concurrency_per_tenant=1, polling_interval_s=options.polling_s)


async def enqueue(queue: DbosJobQueue, count: int, *, at_once: int) -> list[float]:
    """Acknowledge ``count`` jobs, ``at_once`` at a time; return the seconds each took."""
    gate = asyncio.Semaphore(at_once)

    async def one() -> float:
        async with gate:
            started = time.monotonic()
            await queue.enqueue(job())
            return time.monotonic() - started

    await queue.enqueue(job())
    return list(await asyncio.gather(*(one() for _ in range(count))))


async def pick_up(queue: DbosJobQueue, reader: ClockedReader, count: int) -> list[float]:
    """Return the seconds from each acknowledgement to the start of its first stage, the runner being idle."""
    waits = []
    for _ in range(count):
        new = job()
        await queue.enqueue(new)
        acknowledged = time.monotonic()
        await finish(queue, new)
        waits.append(reader.began[new.upload.filename] - acknowledged)
    return waits


async def whole_jobs(queue: DbosJobQueue, count: int) -> list[float]:
    """Return the seconds from submission to the end of jobs whose models take no time."""
    times = []
    for _ in range(count):
        new = job()
        started = time.monotonic()
        await queue.enqueue(new)
        await finish(queue, new)
        times.append(time.monotonic() - started)
    return times


async def idle(seconds: float) -> float:
    """Return the CPU that client and runner use while nothing happens."""
    await asyncio.sleep(1.0)
    cpu, wall = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    return round(100 * (time.process_time() - cpu) / (time.monotonic() - wall), 2)


async def finish(queue: DbosJobQueue, new: NewJob) -> None:
    """Wait for a job's end."""
    async for _ in queue.events(new.tenant, new.job_id):
        pass


async def empty(queue: DbosJobQueue) -> None:
    """Remove all waiting jobs."""
    waiting = await asyncio.to_thread(queue.database.client.list_workflows, load_input=False, load_output=False)
    await asyncio.to_thread(queue.database.client.delete_workflows, [status.workflow_id for status in waiting])


def job() -> NewJob:
    """Return a job of its own file name."""
    fresh = new_job("raw_transcript")
    upload = Upload(filename=fresh.job_id, sha256="0" * 64, bytes=1, artifact=fresh.upload.artifact)
    return new_job("raw_transcript", job_id=fresh.job_id, upload=upload)


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return median, 95th percentile and worst in milliseconds."""
    ordered = sorted(value * 1000 for value in seconds)
    return {
        "p50": round(statistics.median(ordered), 1),
        "p95": round(ordered[int(len(ordered) * 0.95) - 1], 1),
        "max": round(ordered[-1], 1),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--idle-s", type=float, default=10.0)
    parser.add_argument("--polling-s", type=float, default=0.05)
    parser.add_argument("--database-url")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(measure(options, folder)), indent=2))


if __name__ == "__main__":
    main()
