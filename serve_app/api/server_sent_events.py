"""Server-sent events: typed events in, lines out, a heartbeat in silence (WHATWG HTML, section 9.2)."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from serve_app.api.errors import error_body
from serve_app.api.streaming import SEND_TIMEOUT_S, SourceResponse, with_silences

HEARTBEAT_S = 15.0
HEARTBEAT = b": \n\n"
log = structlog.get_logger("rayscribe.events")


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
