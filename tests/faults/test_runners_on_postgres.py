"""Several runners on one PostgreSQL: one dies in the middle of a job, another takes it over."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipelines.domain.job import JobStatus
from tests.faults.test_runner_processes import World, collect, new_world
from tests.jobs.recordings import DIALOGUE, new_job
from tests.services.postgres import new_database

pytestmark = pytest.mark.faults


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with new_database() as url:
        async with new_world(url, tmp_path) as world:
            yield world


async def test_a_dead_runners_jobs_are_taken_over_and_a_living_ones_are_not(world: World) -> None:
    world.conductor.hold("transcribe")
    jobs = [new_job(), new_job()]
    runners = [await world.runner(), await world.runner()]
    for runner in runners:
        await runner.says("ready")
    for job in jobs:
        await world.queue.enqueue(job)
    async with asyncio.timeout(240):
        while len({pid for pid, _ in world.conductor.calls("transcribe")}) < 2:  # noqa: ASYNC110 — other processes
            await asyncio.sleep(0.02)
    await runners[0].kill()
    world.conductor.release("transcribe")
    for job in jobs:
        assert (await collect(world.queue, job.job_id))[-1].type == "succeeded"
    seen = [await world.queue.get("acme", job.job_id) for job in jobs]
    assert [job.status for job in seen] == [JobStatus.SUCCEEDED] * 2
    assert sorted(job.attempts for job in seen) == [1, 2]
    assert len(world.conductor.calls("probe")) == 2
    assert len(world.conductor.calls("transcribe")) <= 3 * len(DIALOGUE), "only what was in flight is repeated"
