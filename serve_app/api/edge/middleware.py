"""What happens around every request: its id, its line in the access log, and a clean answer to whatever is raised."""

import re
import time
import traceback
import uuid
from collections.abc import Mapping

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.errors import TooLarge
from serve_app.api.edge.audit import AuditLog
from serve_app.api.edge.errors import error_response, original_of
from serve_app.metrics import MetricsSink

CLIENT_CLOSED_REQUEST = 499
"""Logged, never sent: the client went away before it was answered (a convention of nginx)."""
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_SERVE_SWITCHES = frozenset(
    {b"x-request-timeout-seconds", b"x-request-disconnect-disabled", b"serve_multiplexed_model_id"}
)
"""Headers that mean something to Ray Serve; a client may not speak through them to what lies behind us."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
log = structlog.get_logger("rayscribe.access")


class EdgeMiddleware:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, metrics: MetricsSink, audit: AuditLog, proxy_sends_request_id: bool) -> None:
        """``proxy_sends_request_id``: Serve's proxy puts the header on every answer; twice would be wrong."""
        self._app = app
        self._metrics = metrics
        self._audit = audit
        self._proxy_sends_request_id = proxy_sends_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; anything else (lifespan, WebSocket) passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["headers"] = [pair for pair in scope["headers"] if pair[0].lower() not in _SERVE_SWITCHES]
        scope.setdefault("state", {})["request_id"] = request_id
        exchange = _Exchange(send, None if self._proxy_sends_request_id else request_id)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._handle(scope, receive, exchange)
            finally:
                self._record(scope, exchange)

    async def _handle(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        try:
            await self._app(scope, receive, exchange.send)
        except Exception as error:
            if isinstance(original_of(error), ClientDisconnect):
                return
            log.error("request_failed", error=type(error).__name__, frames=_frames(error))
            if exchange.status is not None:
                raise
            await error_response(error)(scope, receive, exchange.send)

    def _record(self, scope: Scope, exchange: "_Exchange") -> None:
        caller = scope["state"].get("caller")
        route = getattr(scope.get("route"), "path", None)
        status = exchange.status or CLIENT_CLOSED_REQUEST
        seconds = time.perf_counter() - exchange.started_s
        log.info(
            "request",
            method=scope["method"],
            route=route,
            tenant=caller.tenant if caller else None,
            status=status,
            complete=exchange.complete,
            duration_ms=round(1000 * seconds, 1),
        )
        self._audit.record(scope, status)
        # "none", not the path: clients must not be able to invent label values.
        label = str(route or "none")
        self._metrics.count("http_requests", route=label, method=_known_method(scope["method"]), status=str(status))
        self._metrics.observe("http_seconds", seconds, route=label)


TEXT_PATHS = "/v1/text/"


class BodyLimitMiddleware:
    """Refuses bodies that are too large, by their Content-Length before a byte is read, else while they come in."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit_bytes: int,
        text_bytes: int,
        text_paths: frozenset[str],
        upload_bytes: Mapping[str, int],
    ) -> None:
        """Uploads may have ``upload_bytes`` by path, bodies of text skills ``text_bytes``, others ``limit_bytes``.

        ``text_paths``: where text skills are besides those below ``TEXT_PATHS``.
        """
        self._app = app
        self._text_paths = text_paths
        self._limit_bytes = limit_bytes
        self._text_bytes = text_bytes
        self._upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_for(scope)
        if _declared_length(scope) > limit:
            await error_response(_too_large(limit))(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)

    def _limit_for(self, scope: Scope) -> int:
        is_form = Headers(scope=scope).get("content-type", "").lower().startswith("multipart/form-data")
        if is_form and scope["path"] in self._upload_bytes:
            return self._upload_bytes[scope["path"]]
        is_text = scope["path"].startswith(TEXT_PATHS) or scope["path"] in self._text_paths
        return self._text_bytes if is_text else self._limit_bytes


class HeadMiddleware:
    """Answers HEAD wherever GET works: with its status and headers, and without its body (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; an answer without an end (events, audio) is left once its headers are there."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        answered = False

        async def send_head(message: Message) -> None:
            nonlocal answered
            if answered:
                if message.get("more_body", False):
                    raise ClientDisconnect
                return
            answered = message["type"] == "http.response.start"
            scope["method"] = "HEAD"  # for the server, which else misses the body that the headers promise
            await send(message)
            if answered:
                await send({"type": "http.response.body", "body": b""})

        async def receive_until_answered() -> Message:
            return {"type": "http.disconnect"} if answered else await receive()

        scope["method"] = "GET"
        try:
            await self._app(scope, receive_until_answered, send_head)
        except ClientDisconnect:
            pass
        finally:
            scope["method"] = "HEAD"


class _Exchange:
    """Remembers what was answered."""

    def __init__(self, send: Send, request_id: str | None) -> None:
        self._send = send
        self._request_id = request_id
        self.started_s = time.perf_counter()
        self.status: int | None = None
        self.complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._request_id is not None:
                MutableHeaders(scope=message)["x-request-id"] = self._request_id
        await self._send(message)
        self.complete = message["type"] == "http.response.body" and not message.get("more_body", False)


def _frames(error: BaseException) -> list[str]:
    """Return where it happened, without its words: those of a library may quote what was said in a recording."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    cause = error.__cause__
    return [*_frames(cause), f"caused {type(error).__name__}", *frames] if cause is not None else frames


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _known_method(method: str) -> str:
    return method if method in _METHODS else "other"


def _declared_length(scope: Scope) -> int:
    declared = Headers(scope=scope).get("content-length", "")
    return int(declared) if declared.isdecimal() else 0


def _counted(receive: Receive, limit: int) -> Receive:
    received = 0

    async def receive_counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(limit)
        return message

    return receive_counted


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit:,} bytes")
