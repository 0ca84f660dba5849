"""The job queues that the contract holds for."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pipelines.jobs.dbos.queue import DbosJobQueue
from pipelines.ports.jobs import JobQueue
from tests.contracts.job_queue_harness import LIMITS, DbosHarness, FakeHarness, Harness
from tests.services.postgres import new_database


@pytest.fixture(params=["fake", "dbos on sqlite", "dbos on postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    if request.param == "dbos on postgresql":
        with new_database() as url:
            yield url
    else:
        yield None if request.param == "fake" else f"sqlite:///{tmp_path}/jobs.sqlite"


@pytest.fixture
async def harness(database_url: str | None) -> AsyncIterator[Harness]:
    harness: Harness = FakeHarness()
    if database_url is not None:
        harness = DbosHarness(database_url, await DbosJobQueue.connect(database_url, LIMITS))
    yield harness
    await harness.close()


@pytest.fixture
def queue(harness: Harness) -> JobQueue:
    return harness.queue
