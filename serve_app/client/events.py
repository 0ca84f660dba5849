"""A job's server-sent events as one unbroken sequence, whatever happens to connections."""

import json
import time
from collections.abc import Callable, Iterator
from typing import cast, get_args

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from pipelines.domain.job import TERMINAL_EVENTS, EventType, JobEvent
from serve_app.client.errors import ServerUnreachable, StreamLost, refusal

HEARTBEAT_TIMEOUT_S = 45.0
"""Three heartbeats of 15 s missed: the connection is dead even if nobody said so."""
_KNOWN_TYPES = frozenset(get_args(EventType))


class EventStream:
    """Iterates over a job's events; reconnects with Last-Event-ID until there can be no further one."""

    def __init__(
        self,
        http: httpx.Client,
        path: str,
        *,
        after: int,
        patience_s: float,
        has_ended: Callable[[], bool],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Follow ``path``; ``after`` is the last event already seen (-1: none).

        ``patience_s``: how long to try to reconnect without receiving anything before StreamLost is raised.
        ``has_ended`` is asked when the server closes a stream without a word: whether the job has ended.
        """
        self._http = http
        self._path = path
        self._last_id = after
        self._patience_s = patience_s
        self._has_ended = has_ended
        self._sleep = sleep
        self._waited_s = 0.0
        self._job_has_ended = False
        self._over = False

    def __iter__(self) -> Iterator[JobEvent]:
        while True:
            lost: Exception | None = None
            try:
                for event in self._receive():
                    yield event
                    if event.type in TERMINAL_EVENTS:
                        return
            except (httpx.TransportError, SSEError) as error:
                lost = error
            if self._over:
                return
            self._pause(lost)

    def _receive(self) -> Iterator[JobEvent]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._last_id >= 0:
            headers["Last-Event-ID"] = str(self._last_id)
        timeout = httpx.Timeout(10.0, read=HEARTBEAT_TIMEOUT_S)
        before = self._last_id
        with self._http.stream("GET", self._path, headers=headers, timeout=timeout) as response:
            if response.status_code in (429, 502, 503, 504):
                return
            if response.is_error:
                response.read()
                raise refusal(response)
            if response.status_code == httpx.codes.NO_CONTENT:
                self._over = True
                return
            yield from self._unseen(EventSource(response))
        if self._last_id == before:
            self._note_silence()

    def _note_silence(self) -> None:
        """Find the end on a server that does not say 204: a silent stream of a job that had ended before it began."""
        if self._job_has_ended:
            self._over = True
        else:
            self._job_has_ended = self._has_ended()

    def _unseen(self, source: EventSource) -> Iterator[JobEvent]:
        for message in source.iter_sse():
            event = _decode(message)
            if event is not None and event.id > self._last_id:
                self._last_id = event.id
                self._waited_s = 0.0
                yield event

    def _pause(self, lost: Exception | None) -> None:
        if self._waited_s >= self._patience_s:
            if self._last_id < 0 and isinstance(lost, httpx.ConnectError):
                raise ServerUnreachable("nobody answers at this address") from lost
            raise StreamLost(f"no event for {self._patience_s:.0f} s of trying to reconnect") from lost
        pause_s = min(5.0, max(0.5, self._waited_s))
        self._waited_s += pause_s
        self._sleep(pause_s)


def _decode(message: ServerSentEvent) -> JobEvent | None:
    if message.event not in _KNOWN_TYPES or not message.id.isdecimal():
        return None
    try:
        data = json.loads(message.data or "{}")
    except ValueError:
        return None
    if not isinstance(data, dict):
        return None
    return JobEvent(id=int(message.id), type=cast(EventType, message.event), data=data)
