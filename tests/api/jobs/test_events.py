"""A job's events, in process and over a real server."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from pipelines.fakes.jobs import InMemoryJobQueue
from tests.api.conftest import BuildWorld, World, listening
from tests.api.jobs.test_jobs import submitted

Event = dict[str, Any]


async def read(client: httpx.AsyncClient, job: Any, **headers: str) -> list[Event]:
    """Read a job's stream to its end."""
    response = await client.get(job["links"]["events"], headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    return [parse(block) for block in response.text.split("\n\n") if block and not block.startswith(":")]


def parse(block: str) -> Event:
    fields = dict(line.split(": ", 1) for line in block.splitlines())
    return {**json.loads(fields["data"]), "id": int(fields["id"]), "event": fields["event"]}


async def test_the_whole_story_of_a_job(world: World, wav: bytes) -> None:
    job = await submitted(world.client, wav, features="raw_transcript,diarization")

    events = await read(world.client, job)

    names = [event["event"] for event in events]
    assert (names[0], names[1], names[-1]) == ("queued", "started", "succeeded")
    assert set(names) == {"queued", "started", "stage", "window", "succeeded"}
    assert [event["id"] for event in events] == list(range(len(events)))
    [window] = [event for event in events if event["event"] == "window"]
    assert set(window) >= {"start_s", "end_s", "text"}
    assert window["text"] == "the exam is in june and who will grade it"
    progress = [event["progress"] for event in events if event["event"] == "stage"]
    assert progress == sorted(progress)


async def test_a_stream_goes_on_after_the_last_event_that_was_seen(world: World, wav: bytes) -> None:
    job = await submitted(world.client, wav)
    events = await read(world.client, job)

    rest = await read(world.client, job, **{"Last-Event-ID": "2"})

    assert rest == events[3:]
    assert await read(world.client, job, **{"Last-Event-ID": ""}) == events


@pytest.mark.parametrize("beyond", [0, 1, 1_000])
async def test_after_the_last_event_of_an_ended_job_nothing_follows_and_nobody_need_come_again(
    world: World, wav: bytes, beyond: int
) -> None:
    """An EventSource stops at 204; an empty stream it would open again every few seconds."""
    job = await submitted(world.client, wav)
    last = (await read(world.client, job))[-1]["id"] + beyond

    response = await world.client.get(job["links"]["events"], headers={"Last-Event-ID": str(last)})

    assert (response.status_code, response.content) == (204, b"")
    assert (await read(world.client, job, **{"Last-Event-ID": str(last - beyond - 1)}))[-1]["event"] == "succeeded"


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 30, "٣".encode()])
async def test_an_event_id_that_is_none(world: World, wav: bytes, given: Any) -> None:
    job = await submitted(world.client, wav)

    response = await world.client.get(job["links"]["events"], headers={"Last-Event-ID": given})

    assert (response.status_code, response.json()["error"]["param"]) == (422, "Last-Event-ID")


class WatchedQueue(InMemoryJobQueue):
    """Counts the event streams that are open."""

    open_streams = 0
    all_closed: asyncio.Event

    async def events(self, tenant: str, job_id: str, *, after: int = -1) -> Any:
        self.all_closed = asyncio.Event()
        self.open_streams += 1
        try:
            async for event in super().events(tenant, job_id, after=after):
                yield event
        finally:
            self.open_streams -= 1
            self.all_closed.set()


async def test_events_arrive_as_they_happen_over_a_real_server(build: BuildWorld, wav: bytes) -> None:
    world = await build(run_jobs=False)
    job = await submitted(world.client, wav)
    async with (
        listening(world.app) as address,
        httpx.AsyncClient(base_url=address) as client,
        client.stream("GET", job["links"]["events"]) as stream,
    ):
        lines = stream.aiter_lines()
        assert await anext(lines) == "id: 0"
        await client.delete(job["links"]["self"])
        rest = [line async for line in lines]

    assert "event: cancelled" in rest


async def test_a_client_that_vanishes_leaves_no_stream_behind(build: BuildWorld, wav: bytes) -> None:
    queue = WatchedQueue()
    world = await build(jobs=queue)
    job = await submitted(world.client, wav)
    async with listening(world.app) as address:
        async with (
            httpx.AsyncClient(base_url=address) as client,
            client.stream("GET", job["links"]["events"]) as stream,
        ):
            await anext(stream.aiter_lines())
            assert queue.open_streams == 1
        async with asyncio.timeout(5):
            await queue.all_closed.wait()

    assert queue.open_streams == 0


async def test_a_job_that_is_erased_ends_its_streams(build: BuildWorld, wav: bytes) -> None:
    world = await build(run_jobs=False)
    job = await submitted(world.client, wav)
    async with (
        listening(world.app) as address,
        httpx.AsyncClient(base_url=address) as client,
        client.stream("GET", job["links"]["events"]) as stream,
    ):
        lines = stream.aiter_lines()
        await anext(lines)
        await client.delete(job["links"]["self"], params={"erase": "true"})
        rest = [line async for line in lines]

    assert "event: cancelled" in rest or "event: error" in rest
