"""The routes of jobs over the queue that serves them: what the fake of most tests cannot get wrong in the same way."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.fakes.scripted_speech import write_wav
from pipelines.jobs.dbos.queue import DbosJobQueue
from serve_app.settings import Settings
from tests.api.conftest import SPEECH, build_world


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    queue = await DbosJobQueue.connect(f"sqlite:///{tmp_path}/jobs.sqlite")
    async with build_world(Settings(), jobs=queue).client_for() as client:
        yield client
    await queue.close()


async def submitted(client: httpx.AsyncClient) -> Any:
    response = await client.post("/v1/jobs", files={"file": ("a.wav", write_wav(SPEECH))})
    assert response.status_code == 202, response.text
    return response.json()


async def test_after_the_last_event_of_an_ended_job_nothing_follows(client: httpx.AsyncClient) -> None:
    links = (await submitted(client))["links"]
    await client.delete(links["self"])
    told = (await client.get(links["events"])).text

    async def after(event: int) -> httpx.Response:
        return await client.get(links["events"], headers={"Last-Event-ID": str(event)})

    assert told.splitlines()[:2] == ["id: 0", "event: queued"]
    assert told.splitlines()[4:6] == ["id: 1", "event: cancelled"]
    assert (await after(0)).text == told.partition("\n\n")[2]
    for seen in (1, 2, 1_000):
        assert ((await after(seen)).status_code, (await after(seen)).content) == (204, b"")


@pytest.mark.parametrize("inside", ['[Infinity, "", ""]', '[1e20, "", ""]', '[300000000000000, "", ""]'])
async def test_a_forged_cursor_is_a_422(client: httpx.AsyncClient, inside: str) -> None:
    cursor = base64.urlsafe_b64encode(inside.encode()).decode().rstrip("=")

    response = await client.get("/v1/jobs", params={"cursor": cursor})

    assert (response.status_code, response.json()["error"]["param"]) == (422, "cursor")


async def test_jobs_are_listed_up_to_the_end_of_time(client: httpx.AsyncClient) -> None:
    job = await submitted(client)

    response = await client.get(
        "/v1/jobs", params={"created_after": "0001-01-01T00:00:00Z", "created_before": "9999-12-31T23:59:59.999999Z"}
    )

    assert response.status_code == 200, response.text
    assert [found["id"] for found in response.json()["data"]] == [job["id"]]
