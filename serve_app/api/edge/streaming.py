"""Server-sent events, and answers that begin before they are whole."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar, cast

import anyio
import structlog
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from serve_app.api.edge.errors import error_body

SEND_TIMEOUT_S = 60.0
"""A client that takes nothing for so long is gone: what waits for it is released."""
EventT = TypeVar("EventT")
log = structlog.get_logger("rayscribe.streams")


class SourceResponse(StreamingResponse):
    """Streams from a source and closes it; a slow client is waited for, but not for ever."""

    def __init__(
        self,
        source: AsyncGenerator[EventT, None],
        content: AsyncGenerator[bytes, None],
        *,
        status_code: int = 200,
        headers: Mapping[str, str],
        send_timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        """Send ``content``, which reads ``source``; both are closed at the end."""
        self._source = source
        self._content = content
        self._send_timeout_s = send_timeout_s
        super().__init__(content, status_code, headers=headers, media_type=self.media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the source ends or the client goes away."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._send_timeout_s):
                await send(message)
            # A server forgets what it is told to send to nobody: without a pause, nobody would notice.
            await asyncio.sleep(0)

        try:
            await super().__call__(scope, receive, send_in_time)
        except TimeoutError:
            log.info("client_stalled")
        finally:
            # Shielded: the task is being cancelled when the client has gone away.
            with anyio.CancelScope(shield=True):
                await self._content.aclose()
                await self._source.aclose()


async def with_silences(
    source: AsyncGenerator[EventT, None], *, silence_s: float
) -> AsyncGenerator[EventT | None, None]:
    """Yield what ``source`` yields, and None each time it was silent for ``silence_s``."""
    pending: asyncio.Task[EventT] | None = None
    try:
        while True:
            pending = pending or asyncio.create_task(_next_of(source))
            await asyncio.wait({pending}, timeout=silence_s)
            if not pending.done():
                yield None
                continue
            finished, pending = pending, None
            if isinstance(finished.exception(), StopAsyncIteration):
                return
            yield finished.result()
    finally:
        if pending is not None:
            await _cancelled(pending)


async def started(source: AsyncGenerator[EventT, None]) -> AsyncGenerator[EventT, None]:
    """Wait for the first event, so that an error before it still has a status code; return all events.

    The generator that is returned has begun: closing it closes ``source``, also when nothing was read from it.
    """
    events = _begun(source)
    await anext(events)
    return cast(AsyncGenerator[EventT, None], events)


async def _begun(source: AsyncGenerator[EventT, None]) -> AsyncGenerator[EventT | None, None]:
    async with aclosing(source):
        try:
            first = await anext(source)
        except StopAsyncIteration:
            yield None
            return
        yield None
        yield first
        async for event in source:
            yield event


async def _next_of(source: AsyncGenerator[EventT, None]) -> EventT:
    return await anext(source)


async def _cancelled(task: asyncio.Task[EventT]) -> None:
    task.cancel()
    with anyio.CancelScope(shield=True):
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


HEARTBEAT_S = 15.0
HEARTBEAT = b": \n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSentEvent:
    """One event; ``type`` None: the browser's default type, ``message``."""

    data: Mapping[str, object] | str
    type: str | None = None
    id: int | None = None

    def encode(self) -> bytes:
        """Return the event as lines; JSON has no line breaks, so ``data`` is one line."""
        data = self.data if isinstance(self.data, str) else json.dumps(self.data, ensure_ascii=True)
        lines = [f"id: {self.id}"] if self.id is not None else []
        lines += [f"event: {self.type}"] if self.type is not None else []
        return "\n".join([*lines, f"data: {data}", "", ""]).encode()


class EventStreamResponse(SourceResponse):
    """Streams events, with heartbeats."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[ServerSentEvent, None],
        *,
        heartbeat_s: float = HEARTBEAT_S,
        send_timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        """Take events that ``started`` has begun, or that need no status of their own."""
        # X-Accel-Buffering: nginx would otherwise hold events back until it has a bufferful.
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        content = encoded(events, heartbeat_s=heartbeat_s)
        super().__init__(events, content, headers=headers, send_timeout_s=send_timeout_s)


async def encoded(events: AsyncGenerator[ServerSentEvent, None], *, heartbeat_s: float) -> AsyncGenerator[bytes, None]:
    """Encode events, with a comment whenever none came for ``heartbeat_s``; an error ends as an ``error`` event."""
    async with aclosing(with_silences(events, silence_s=heartbeat_s)) as beats:
        try:
            async for event in beats:
                yield HEARTBEAT if event is None else event.encode()
        except Exception as error:
            log.warning("stream_failed", error=type(error).__name__)
            yield ServerSentEvent(type="error", data=error_body(error)).encode()
