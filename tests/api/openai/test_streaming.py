"""Streams: encoded, never silent, and closed whatever happens."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.types import Message

from pipelines.errors import ModelUnavailable, NotFound
from serve_app.api.edge.streaming import (
    HEARTBEAT,
    EventStreamResponse,
    ServerSentEvent,
    encoded,
    started,
    with_silences,
)


class Source:
    """Yields numbers; then fails, waits for ever, or ends; remembers that it was closed."""

    def __init__(self, count: int, *, error: Exception | None = None, hang: bool = False) -> None:
        self.closed = False
        self._count, self._error, self._hang = count, error, hang

    async def events(self) -> AsyncGenerator[ServerSentEvent, None]:
        try:
            for number in range(self._count):
                yield ServerSentEvent(id=number, type="tick", data={"n": number})
            if self._hang:
                await asyncio.Event().wait()
            if self._error:
                raise self._error
        finally:
            self.closed = True


def test_an_event_is_three_lines_and_an_empty_one() -> None:
    event = ServerSentEvent(id=7, type="window", data={"text": "zwei\nZeilen  und ü"})

    id_line, type_line, data_line, *rest = event.encode().decode().splitlines()

    assert (id_line, type_line) == ("id: 7", "event: window")
    assert json.loads(data_line.removeprefix("data: ")) == {"text": "zwei\nZeilen  und ü"}
    assert rest == [""]


def test_an_event_without_id_and_type_is_data_alone() -> None:
    assert ServerSentEvent(data="[DONE]").encode() == b"data: [DONE]\n\n"


async def test_silence_is_broken_by_comments_and_nothing_is_lost() -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncGenerator[ServerSentEvent, None]:
        yield ServerSentEvent(data="1")
        await go_on.wait()
        yield ServerSentEvent(data="2")

    lines = encoded(slow(), heartbeat_s=0.01)
    assert await anext(lines) == b"data: 1\n\n"
    assert await anext(lines) == HEARTBEAT
    assert await anext(lines) == HEARTBEAT
    go_on.set()
    assert [line async for line in lines if line != HEARTBEAT] == [b"data: 2\n\n"]


async def test_an_error_after_the_first_event_is_the_last_event() -> None:
    source = Source(1, error=ModelUnavailable("the model is gone"))

    *_, last = [line async for line in encoded(source.events(), heartbeat_s=10)]

    assert last.startswith(b"event: error\n")
    assert b'"code": "model_unavailable"' in last


async def test_an_error_before_the_first_event_is_raised_so_that_it_has_a_status() -> None:
    with pytest.raises(NotFound):
        await started(Source(0, error=NotFound("no such job")).events())


async def test_a_stream_of_nothing_ends_at_once() -> None:
    assert [event async for event in await started(Source(0).events())] == []


async def test_closing_an_unread_stream_closes_its_source() -> None:
    source = Source(5)
    events = await started(source.events())

    await events.aclose()

    assert source.closed


async def test_stopping_in_the_middle_of_a_silence_stops_the_wait() -> None:
    source = Source(1, hang=True)
    events = source.events()
    beats = with_silences(events, silence_s=0.01)
    assert await anext(beats) is not None
    assert await anext(beats) is None

    await beats.aclose()

    assert source.closed


class Client:
    """The receiving end of an ASGI application."""

    def __init__(self, *, takes: int = 1_000) -> None:
        self.sent: list[Message] = []
        self.disconnected = asyncio.Event()
        self.got_an_event = asyncio.Event()
        self._takes = takes

    async def receive(self) -> Message:
        await self.disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if len(self.sent) >= self._takes:
            await asyncio.Event().wait()
        self.sent.append(message)
        if message.get("body"):
            self.got_an_event.set()


SCOPE: dict[str, Any] = {"type": "http", "asgi": {"spec_version": "2.3"}}


async def test_a_client_that_vanishes_closes_the_source() -> None:
    source, client = Source(1, hang=True), Client()
    task = asyncio.create_task(EventStreamResponse(source.events())(SCOPE, client.receive, client.send))
    await client.got_an_event.wait()

    client.disconnected.set()
    await task

    assert source.closed


async def test_a_request_that_is_cancelled_closes_the_source() -> None:
    source, client = Source(1, hang=True), Client()
    task = asyncio.create_task(EventStreamResponse(source.events())(SCOPE, client.receive, client.send))
    await client.got_an_event.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert source.closed


async def test_a_client_that_takes_nothing_any_more_is_given_up(logged: list[dict[str, Any]]) -> None:
    source, client = Source(1_000), Client(takes=3)

    await EventStreamResponse(source.events(), send_timeout_s=0.02)(SCOPE, client.receive, client.send)

    assert source.closed
    assert [entry["event"] for entry in logged] == ["client_stalled"]


async def test_a_slow_client_gets_everything() -> None:
    source, client = Source(50), Client()

    await EventStreamResponse(source.events())(SCOPE, client.receive, client.send)

    bodies = [message["body"] for message in client.sent[1:] if message["body"]]
    assert len(bodies) == 50
    assert client.sent[-1]["more_body"] is False
