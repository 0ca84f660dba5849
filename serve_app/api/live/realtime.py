"""``WS /v1/realtime``: OpenAI's transcription sessions over the session of ``pipelines/live``.

One task reads the client, one tells it what the session says. Whoever sends faster than is understood is held back by
its socket; whoever takes nothing is closed. A frame that makes no sense is answered, and does not end the session.
"""

import asyncio
import base64
import binascii
import json
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from pipelines.domain.live import (
    Eager,
    FellBehind,
    Final,
    LiveEvent,
    Partial,
    Resumed,
    SpeechStarted,
    SpeechStopped,
    SpeechUnrecognized,
    TurnCommitted,
    TurnFailed,
)
from pipelines.errors import CallerError, InvalidRequest, NotAvailable, Overloaded, RayScribeError, TooLarge
from pipelines.live.session import LiveSession
from pipelines.live.sound import SoundReader
from serve_app.api.edge.authentication import Caller, require_scope
from serve_app.api.edge.errors import error_body
from serve_app.api.live.session_fields import LOGPROBS, OWN_EVENTS, SessionConfig, parse_session
from serve_app.api.openai.transcription_shapes import logprobs_of
from serve_app.services import Services

router = APIRouter(tags=["live"])
log = structlog.get_logger("rayscribe.live")

MAX_APPEND_BYTES = 15 << 20
"""Of one append, decoded: OpenAI's limit. Where uvicorn's own 16 MiB of text come first, they close with 1009."""
_INLINE_BYTES = 64_000
"""Less than this is decoded on the event loop: a thread would cost more."""
_SHORTEST_COMMIT_S = 0.1
_SEND_TIMEOUT_S = 30.0
"""A client that takes nothing for so long is gone."""
NORMAL, UNACCEPTABLE, BROKEN, OVERLOADED = 1000, 1008, 1011, 1013
_CONVERSATION = "this is a transcription session: it answers nothing, and keeps no conversation"
_LAG_WINDOW_S = 30.0


class LiveGate:
    """How many sessions this process takes: up to a number, and not while the ends of turns come late."""

    def __init__(self, sessions: int, refuse_lag_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._sessions = sessions
        self._refuse_lag_s = refuse_lag_s
        self._clock = clock
        self._lags: deque[tuple[float, float]] = deque(maxlen=200)
        self.open = 0

    def note(self, lag_s: float) -> None:
        """Remember how late the end of a turn was told."""
        self._lags.append((self._clock(), lag_s))

    @property
    def lag_s(self) -> float:
        """How late ends of turns were told in the last half minute: the 95th percentile."""
        since = self._clock() - _LAG_WINDOW_S
        recent = sorted(lag_s for at, lag_s in self._lags if at >= since)
        return recent[min(len(recent) - 1, int(0.95 * len(recent)))] if recent else 0.0

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """Hold a place. Raises Overloaded where there is none."""
        if self.open >= self._sessions:
            raise Overloaded(f"{self.open} sessions are open, which is all there is room for", None, 10.0)
        if self.lag_s > self._refuse_lag_s:
            raise Overloaded("the sessions that are open are served too late already", None, _LAG_WINDOW_S)
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """Open a transcription session."""
    services: Services = websocket.app.state.services
    caller: Caller = websocket.state.caller
    gate: LiveGate = websocket.app.state.live
    connection = _Connection(websocket, services, caller, gate)
    await connection.accept()
    try:
        require_scope(caller, "inference")
        async with gate.admit():
            await connection.run()
    except (WebSocketDisconnect, _ClientGone):
        pass
    except RayScribeError as error:
        overloaded = isinstance(error, Overloaded)
        await connection.end(error, OVERLOADED if overloaded else UNACCEPTABLE)
    except Exception as error:
        log.error("session_failed", error=type(error).__name__)
        await connection.end(error, BROKEN)


class _ClientGone(Exception):
    """Nothing can be told to this client any more."""


class _Connection:
    """One client."""

    def __init__(self, websocket: WebSocket, services: Services, caller: Caller, gate: LiveGate) -> None:
        self._websocket = websocket
        self._services = services
        self._caller = caller
        self._gate = gate
        self._id = f"sess_{uuid.uuid4().hex[:24]}"
        self._beta = "realtime=v1" in websocket.headers.get("openai-beta", "") or any(
            name.startswith("openai-beta.realtime-v1") for name in websocket.scope.get("subprotocols", ())
        )
        self._config = SessionConfig()
        self._sound = SoundReader(self._config.format.to_format())
        self._committed_s = 0.0
        self._previous: str | None = None
        self._sending = asyncio.Lock()
        self._told = 0

    async def accept(self) -> None:
        """Open the socket. A browser offers ``realtime`` and its key as subprotocols: the first is answered."""
        offered = self._websocket.scope.get("subprotocols", ())
        await self._websocket.accept(subprotocol="realtime" if "realtime" in offered else None)

    async def run(self) -> None:
        """Serve the session until the client leaves, or is idle for too long."""
        loaded = await self._services.transcriber.info()
        signed: str | None = getattr(self._websocket.state, "signed_session", None)
        if signed is not None:
            self._config = self._config.changed(parse_session(json.loads(signed), beta=False))
        if model := self._websocket.query_params.get("model"):
            fields = {"audio": {"input": {"transcription": {"model": model}}}}
            self._config = self._config.changed(parse_session(fields, beta=False))
        self._config.check(loaded, dict(self._services.settings.openai.aliases))
        self._sound = SoundReader(self._config.format.to_format())
        meter = await asyncio.to_thread(self._services.speech_meter)
        longest_s = loaded.max_window_s or 30.0
        session = LiveSession(self._services.transcriber, meter, self._config.to_options(), max_window_s=longest_s)
        await self._send_session("created")
        async with session:
            telling = asyncio.create_task(self._tell(session))
            reading = asyncio.create_task(self._read(session))
            try:
                done, _ = await asyncio.wait({telling, reading}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in (telling, reading):
                    task.cancel()
                await asyncio.gather(telling, reading, return_exceptions=True)
                self._websocket.app.state.usage.add(self._caller.tenant, audio_s=session.received_s)

    async def end(self, error: Exception, code: int) -> None:
        """Say why, and close."""
        if self._websocket.client_state is not WebSocketState.CONNECTED:
            return
        try:
            await self._send_error(error, None)
            await self._websocket.close(code, _reason(error))
        except (_ClientGone, RuntimeError, WebSocketDisconnect):
            pass

    # What the client says

    async def _read(self, session: LiveSession) -> None:
        idle_s = self._services.settings.live.idle_s
        while True:
            try:
                async with asyncio.timeout(idle_s):
                    message = await self._websocket.receive()
            except TimeoutError:
                await self._send_error(CallerError(f"nothing was received for {idle_s:g} s"), None, "idle_timeout")
                await self._websocket.close(NORMAL, "idle")
                return
            if message["type"] == "websocket.disconnect":
                return
            await self._take(session, message.get("text"))

    async def _take(self, session: LiveSession, text: str | None) -> None:
        event_id: str | None = None
        try:
            event = await _parse(text)
            given = event.get("event_id")
            event_id = given[:512] if isinstance(given, str) else None
            await self._obey(session, event)
        except RayScribeError as error:
            await self._send_error(error, event_id)

    async def _obey(self, session: LiveSession, event: Mapping[str, Any]) -> None:
        kind = event["type"]
        handlers: dict[str, Callable[[LiveSession, Mapping[str, Any]], Awaitable[None]]] = {
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "session.update": self._update,
            "transcription_session.update": self._update,
        }
        if kind in handlers:
            await handlers[kind](session, event)
        elif kind.startswith(("response.", "conversation.", "output_audio_buffer.")):
            raise NotAvailable(_CONVERSATION, "type")
        else:
            raise InvalidRequest("there is no such event", "type")

    async def _append(self, session: LiveSession, event: Mapping[str, Any]) -> None:
        audio = event.get("audio")
        if not isinstance(audio, str):
            raise InvalidRequest("audio is base64", "audio")
        if len(audio) > 4 * MAX_APPEND_BYTES // 3 + 4:
            raise TooLarge(f"one append holds at most {MAX_APPEND_BYTES:,} bytes of sound", "audio")
        if len(audio) < _INLINE_BYTES:
            samples = self._sound.read(_decoded(audio))
        else:
            samples = await asyncio.to_thread(lambda: self._sound.read(_decoded(audio)))
        if len(samples):
            await session.append(samples)

    async def _commit(self, session: LiveSession, _event: Mapping[str, Any]) -> None:
        buffered_s = session.received_s - self._committed_s
        if buffered_s < _SHORTEST_COMMIT_S:
            raise EmptyBuffer(
                f"the buffer holds {1000 * max(0.0, buffered_s):.0f} ms of sound: at least 100 are needed"
            )
        self._committed_s = session.received_s
        session.commit()

    async def _clear(self, session: LiveSession, _event: Mapping[str, Any]) -> None:
        self._committed_s = session.received_s
        session.clear()
        await self._send("input_audio_buffer.cleared")

    async def _update(self, session: LiveSession, event: Mapping[str, Any]) -> None:
        beta = event["type"] == "transcription_session.update"
        config = self._config.changed(parse_session(event.get("session"), beta=beta))
        config.check(await self._services.transcriber.info(), dict(self._services.settings.openai.aliases))
        if config.format != self._config.format:
            rest, self._sound = self._sound.finish(), SoundReader(config.format.to_format())
            if len(rest):
                await session.append(rest)
        self._config = config
        session.configure(config.to_options())
        await self._send_session("updated", beta=beta)

    # What the client is told

    async def _tell(self, session: LiveSession) -> None:
        async for event in session.events():
            for kind, body in self._messages(event):
                await self._send(kind, **body)
            if isinstance(event, TurnCommitted):
                self._committed_s = max(self._committed_s, event.end_s)
            if isinstance(event, Final):
                self._gate.note(event.lag_s)
                self._services.metrics.observe("live_final_lag_seconds", max(0.0, event.lag_s))

    def _messages(self, event: LiveEvent) -> list[tuple[str, dict[str, Any]]]:
        """Return what an event is on the wire, in OpenAI's order."""
        item_id = f"item_{self._id[5:]}_{event.turn}"
        place: dict[str, Any] = {"item_id": item_id, "content_index": 0}
        transcription = "conversation.item.input_audio_transcription"
        own = OWN_EVENTS in self._config.include
        match event:
            case SpeechStarted():
                return [
                    ("input_audio_buffer.speech_started", {"audio_start_ms": _ms(event.start_s), "item_id": item_id})
                ]
            case SpeechStopped():
                return [("input_audio_buffer.speech_stopped", {"audio_end_ms": _ms(event.end_s), "item_id": item_id})]
            case TurnCommitted():
                return self._committed(item_id, _ms(event.end_s) if own else None)
            case Partial():
                told = [(f"{transcription}.delta", {**place, "delta": event.added})] if event.added else []
                tentative = {**place, "text": event.tentative, "lag_s": event.lag_s}
                return [*told, ("rayscribe.partial", tentative)] if own else told
            case Final():
                return self._final(event, place)
            case TurnFailed():
                error = {"type": "server_error", "code": event.code, "message": event.message, "param": None}
                return [(f"{transcription}.failed", {**place, "error": error})]
            case Eager() if own:
                return [("rayscribe.eager", {**place, "text": event.text, "lag_s": event.lag_s})]
            case Resumed() if own:
                return [("rayscribe.resumed", {"item_id": item_id})]
            case SpeechUnrecognized() if own:
                span = {"audio_start_ms": _ms(event.start_s), "audio_end_ms": _ms(event.end_s)}
                return [("rayscribe.speech_unrecognized", {"item_id": item_id, **span})]
            case FellBehind() if own:
                return [("rayscribe.fell_behind", {"lag_s": event.lag_s})]
        return []

    def _committed(self, item_id: str, end_ms: int | None) -> list[tuple[str, dict[str, Any]]]:
        previous, self._previous = self._previous, item_id
        content = [{"type": "input_audio", "transcript": None}]
        item = {"id": item_id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user",
                "content": content}  # fmt: skip
        ended = {} if end_ms is None else {"audio_end_ms": end_ms}
        names = ("created",) if self._beta else ("added", "done")
        return [
            ("input_audio_buffer.committed", {"item_id": item_id, "previous_item_id": previous, **ended}),
            *((f"conversation.item.{name}", {"item": item, "previous_item_id": previous}) for name in names),
        ]

    def _final(self, event: Final, place: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        transcription = "conversation.item.input_audio_transcription"
        messages: list[tuple[str, dict[str, Any]]] = []
        if event.added:
            messages.append((f"{transcription}.delta", {**place, "delta": event.added}))
        for segment in event.segments:
            span = {"start": round(segment.start_s, 3), "end": round(segment.end_s, 3)}
            segment_id = f"seg_{place['item_id'][5:]}_{segment.id}"
            told = {**place, "id": segment_id, "text": segment.text, "speaker": "A", **span}
            messages.append((f"{transcription}.segment", told))
        whole: dict[str, Any] = {**place, "transcript": event.text}
        whole["usage"] = {"type": "duration", "seconds": round(event.end_s - event.start_s, 3)}
        if event.language is not None:
            whole["languages"] = [{"code": event.language}]
        if LOGPROBS in self._config.include:
            whole["logprobs"] = [entry.model_dump() for entry in logprobs_of(event.segments)]
        if OWN_EVENTS in self._config.include:
            whole["lag_s"] = event.lag_s
        return [*messages, (f"{transcription}.completed", whole)]

    async def _send_session(self, what: str, *, beta: bool = False) -> None:
        if self._beta or beta:
            await self._send(f"transcription_session.{what}", session=self._config.to_beta_body(self._id))
        else:
            await self._send(f"session.{what}", session=self._config.to_body(self._id))

    async def _send_error(self, error: Exception, event_id: str | None, code: str | None = None) -> None:
        body = error_body(error)["error"]
        if code is not None:
            body["code"] = code
        await self._send("error", error={**body, "event_id": event_id})

    async def _send(self, kind: str, **body: object) -> None:
        self._told += 1
        message = {"type": kind, "event_id": f"event_{self._id[5:]}_{self._told}", **body}
        text = json.dumps(message, separators=(",", ":"))
        try:
            async with self._sending, asyncio.timeout(_SEND_TIMEOUT_S):
                await self._websocket.send_text(text)
        except (TimeoutError, RuntimeError, WebSocketDisconnect):
            raise _ClientGone from None


class EmptyBuffer(InvalidRequest):
    """There is nothing to commit."""

    code = "input_audio_buffer_commit_empty"


async def _parse(text: str | None) -> Mapping[str, Any]:
    """Return a client's event. Raises CallerError."""
    if text is None:
        raise CallerError("events are text: JSON, with sound as base64")
    try:
        event = json.loads(text) if len(text) < _INLINE_BYTES else await asyncio.to_thread(json.loads, text)
    except (ValueError, RecursionError):
        raise CallerError("the event is not JSON") from None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise InvalidRequest("an event is an object with a type", "type")
    return event


def _decoded(audio: str) -> bytes:
    try:
        data = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("audio is not base64", "audio") from None
    if len(data) > MAX_APPEND_BYTES:
        raise TooLarge(f"one append holds at most {MAX_APPEND_BYTES:,} bytes of sound", "audio")
    return data


def _reason(error: Exception) -> str:
    """Return words for the close frame, which has room for 123 bytes."""
    body = error_body(error)["error"]
    return str(body["message"]).encode()[:120].decode(errors="ignore")


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
