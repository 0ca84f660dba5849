"""Exceptions to HTTP answers: one table, looked up along the exception's MRO, and one body for all of them.

``{"error": {"message", "type", "param", "code"}}``: nothing else of an exception reaches a client. An error that came
through Ray is an instance of both RayTaskError and its original class, and its text holds a stack trace; the original
is its ``cause``.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from pipelines import errors
from serve_app.api.edge.byte_ranges import Unsatisfiable


class BodyStalled(errors.CallerError):
    """The client stopped sending in the middle of a body."""

    code = "request_timeout"


class UploadTooSlow(BodyStalled):
    """The client goes on sending, but so slowly that it only keeps others out."""

    code = "upload_too_slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorStatus:
    """How one class of exceptions is answered."""

    status: int
    type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    """Sent as Retry-After where the exception itself does not say; None: not sent."""


ERROR_STATUSES: Mapping[type[BaseException], ErrorStatus] = {
    errors.CallerError: ErrorStatus(status=400, type="invalid_request_error"),
    Unsatisfiable: ErrorStatus(status=416, type="invalid_request_error"),
    BodyStalled: ErrorStatus(status=408, type="invalid_request_error", headers={"connection": "close"}),
    errors.InvalidRequest: ErrorStatus(status=422, type="invalid_request_error"),
    errors.Unauthenticated: ErrorStatus(
        status=401, type="authentication_error", headers={"www-authenticate": 'Bearer realm="rayscribe"'}
    ),
    errors.Forbidden: ErrorStatus(status=403, type="permission_error"),
    errors.NotFound: ErrorStatus(status=404, type="not_found_error"),
    # The openai package would repeat a 409 twice; repeating cannot help here.
    errors.Conflict: ErrorStatus(status=409, type="conflict_error", headers={"x-should-retry": "false"}),
    errors.RevisionUnknown: ErrorStatus(status=428, type="invalid_request_error"),
    errors.RevisionChanged: ErrorStatus(status=412, type="conflict_error"),
    errors.TooLarge: ErrorStatus(status=413, type="invalid_request_error"),
    errors.UnsupportedMedia: ErrorStatus(status=415, type="invalid_request_error"),
    errors.AudioTooShort: ErrorStatus(status=422, type="invalid_request_error"),
    errors.Overloaded: ErrorStatus(status=429, type="rate_limit_error", retry_after_s=1.0),
    errors.CollectionDamaged: ErrorStatus(status=503, type="server_error"),
    # The openai package would repeat a 503 twice; repeating cannot help here.
    errors.NoLanguageModel: ErrorStatus(status=503, type="server_error", headers={"x-should-retry": "false"}),
    errors.DependencyError: ErrorStatus(status=503, type="server_error", retry_after_s=5.0),
    errors.ModelError: ErrorStatus(status=503, type="server_error", retry_after_s=5.0),
    Exception: ErrorStatus(status=500, type="server_error"),
}
_INTERNAL = ("something went wrong on our side; the request id names the log entry", None, "internal_error")
_ROUTE_CODES = {404: "not_found", 405: "method_not_allowed"}


def original_of(error: Exception) -> Exception:
    """Return what was raised before Ray, or FastAPI's body reader, wrapped it."""
    for inner in (getattr(error, "cause", None), error.__cause__ if isinstance(error, HTTPException) else None):
        if isinstance(inner, (errors.RayScribeError, ClientDisconnect)):
            return inner
    return error


def answer_to(error: Exception) -> ErrorStatus:
    """Look an exception up along its MRO."""
    return next(ERROR_STATUSES[ancestor] for ancestor in type(error).__mro__ if ancestor in ERROR_STATUSES)


def error_response(error: Exception) -> Response:
    """Answer any exception; only errors of our own tree, and of routing and validation, speak for themselves."""
    error = original_of(error)
    if isinstance(error, RequestValidationError):
        error = _validation_error(error.errors())
    if isinstance(error, HTTPException):
        return _routing_error(error)
    answer = answer_to(error)
    headers = dict(answer.headers) | _retry_after(error, answer)
    return _respond(answer.status, answer.type, *_words(error, answer), headers=headers)


def error_body(error: Exception) -> dict[str, Any]:
    """Return the body alone: for an error that ends a stream whose status was sent long ago."""
    error = original_of(error)
    answer = answer_to(error)
    return _body(answer.type, *_words(error, answer))


def _words(error: Exception, answer: ErrorStatus) -> tuple[str, str | None, str]:
    if isinstance(error, errors.RayScribeError) and answer.status != HTTPStatus.INTERNAL_SERVER_ERROR:
        return error.message, error.param, error.code
    return _INTERNAL


def _retry_after(error: Exception, answer: ErrorStatus) -> dict[str, str]:
    if answer.retry_after_s is None:
        return {}
    seconds = getattr(error, "retry_after_s", None) or answer.retry_after_s
    return {"retry-after": str(max(1, math.ceil(seconds)))}


def _routing_error(error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    kind = "not_found_error" if status == HTTPStatus.NOT_FOUND else "invalid_request_error"
    code = _ROUTE_CODES.get(status, "invalid_request")
    response = _respond(status.value, kind, status.phrase, None, code, headers=dict(error.headers or {}))
    return _MethodNotAllowed(response) if status == HTTPStatus.METHOD_NOT_ALLOWED else response


class _MethodNotAllowed(Response):
    """A 405 that names the methods of all routes with this path; the router knows only those of the first."""

    def __init__(self, plain: Response) -> None:
        super().__init__(plain.body, plain.status_code, headers=dict(plain.headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, once the request says which path it was."""
        routes = [route for route in scope["app"].routes if route.matches(scope)[0] is not Match.NONE]
        methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
        self.headers["allow"] = ", ".join(sorted(methods))
        await super().__call__(scope, receive, send)


def _validation_error(problems: Sequence[Any]) -> errors.CallerError:
    """Put pydantic's first complaint in our words; the value itself is the client's, and stays out of it."""
    first = problems[0]
    if first["type"] == "json_invalid":
        return errors.CallerError("the body is not JSON")
    place = [str(part) for part in first["loc"][1:]]
    return errors.InvalidRequest(first["msg"], ".".join(place) or None)


def _respond(
    status: int, kind: str, message: str, param: str | None, code: str, *, headers: Mapping[str, str]
) -> Response:
    # ASCII, because a field's name may hold lone surrogates, which UTF-8 cannot carry.
    content = json.dumps(_body(kind, message, param, code)).encode("ascii")
    return Response(content, status, headers=headers, media_type="application/json")


def _body(kind: str, message: str, param: str | None, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
