"""Runners are processes that die: SIGKILL in the middle of each stage, and a second one on the same database."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pipelines.domain.job import TERMINAL_EVENTS, JobEvent, JobStatus
from pipelines.fakes.rehearsal import Conductor
from pipelines.fakes.scripted_speech import write_wav
from pipelines.jobs.artifacts import load_result
from pipelines.jobs.dbos.queue import DbosJobQueue
from pipelines.stores.artifacts import FsspecArtifactStore
from tests.jobs.recordings import DIALOGUE, UPLOAD, new_job

pytestmark = pytest.mark.faults
STARTUP_S = 240.0


class Runner:
    """One runner process and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str, folder: Path) -> "Runner":
        command = [sys.executable, "-m", "tests.faults.runner_process", url, str(folder)]
        return cls(await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE))

    async def says(self, word: str) -> None:
        assert self._process.stdout is not None
        async with asyncio.timeout(STARTUP_S):
            while (line := await self._process.stdout.readline()).strip() != word.encode():
                assert line, "the runner ended"

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


class World:
    """A database, a folder, and the runners on them."""

    def __init__(self, url: str, folder: Path, queue: DbosJobQueue) -> None:
        self.url = url
        self.folder = folder
        self.queue = queue
        self.artifacts = FsspecArtifactStore(str(folder / "artifacts"))
        self.conductor = Conductor(folder / "rehearsal")
        self.runners: list[Runner] = []

    async def runner(self) -> Runner:
        self.runners.append(await Runner.start(self.url, self.folder))
        return self.runners[-1]

    async def called(self, verb: str) -> None:
        async with asyncio.timeout(STARTUP_S):
            while not self.conductor.calls(verb):  # noqa: ASYNC110 — no event comes from another process
                await asyncio.sleep(0.02)


@asynccontextmanager
async def new_world(url: str, folder: Path) -> AsyncIterator[World]:
    """Yield a world; no runner outlives it."""
    world = World(url, folder, await DbosJobQueue.connect(url))
    await world.artifacts.write(UPLOAD.artifact, write_wav(DIALOGUE))
    yield world
    for runner in world.runners:
        await runner.kill()
    await world.queue.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with new_world(f"sqlite:///{tmp_path}/jobs.sqlite", tmp_path) as world:
        yield world


async def collect(queue: DbosJobQueue, job_id: str) -> list[JobEvent]:
    async with asyncio.timeout(STARTUP_S):
        return [event async for event in queue.events("acme", job_id)]


@pytest.mark.parametrize(
    ("verb", "finished"), [("probe", []), ("transcribe", ["probe"]), ("embed", ["probe", "diarize"])]
)
async def test_a_killed_runners_job_goes_on_where_it_was(world: World, verb: str, finished: list[str]) -> None:
    world.conductor.hold(verb)
    job = new_job()
    await world.queue.enqueue(job)
    first = await world.runner()
    await world.called(verb)
    await first.kill()
    assert (await world.queue.get("acme", job.job_id)).status is JobStatus.RUNNING

    world.conductor.release(verb)
    await world.runner()
    events = await collect(world.queue, job.job_id)

    types = [event.type for event in events]
    assert [kind for kind in types if kind in TERMINAL_EVENTS] == ["succeeded"]
    assert [event.id for event in events] == list(range(len(events)))
    seen = await world.queue.get("acme", job.job_id)
    assert (seen.status, seen.attempts) == (JobStatus.SUCCEEDED, 2)
    for once in finished:
        assert len(world.conductor.calls(once)) == 1, "a finished stage does not run again"
    assert len(world.conductor.calls("transcribe")) <= len(DIALOGUE) * (2 if verb == "transcribe" else 1)
    result = await load_result(world.artifacts, "acme", job.job_id)
    assert result is not None
    assert result.results["raw_transcript"] == " ".join(utterance.text for utterance in DIALOGUE)


async def test_a_second_runner_waits_for_the_first_to_die(world: World) -> None:
    first = await world.runner()
    await first.says("ready")
    second = await world.runner()
    await second.says("starting")
    job = new_job()
    await world.queue.enqueue(job)
    assert (await collect(world.queue, job.job_id))[-1].type == "succeeded"
    waiting = asyncio.create_task(second.says("ready"))
    done, _ = await asyncio.wait({waiting}, timeout=1.0)
    assert not done
    await first.kill()
    await waiting
    job = new_job()
    await world.queue.enqueue(job)
    assert (await collect(world.queue, job.job_id))[-1].type == "succeeded"
