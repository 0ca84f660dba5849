"""Streams that begin before a status is chosen, notice silence, and are closed whatever becomes of the client."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TypeVar, cast

import anyio
import structlog
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

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
