"""What the four systems share: how they say errors, and how their forms are read."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.domain.job import JobRequest
from pipelines.errors import InvalidRequest
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.forms import FormShape
from serve_app.api.jobs.fields import LISTS
from serve_app.api.jobs.submission import JobForm


class DetailBody(BaseModel):
    """An error as these systems say it."""

    detail: str


def detail_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declare error answers in these systems' shape."""
    return error_answers(*statuses, body=DetailBody)


class DetailErrors:
    """The outermost layer over the routes of ``compat``: what went wrong is said as ``{"detail": …}``.

    Whoever made the answer: a route, the layer that knows the keys, or the one that counts bytes.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        """``routes``: those whose errors are said so."""
        self._app = app
        paths = {route.path_regex.pattern for route in routes if isinstance(route, APIRoute) and route.path != "/"}
        self._paths = re.compile("|".join(f"(?:{_without_names(path)})" for path in sorted(paths)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and self._paths.match(scope["path"]):
            send = _DetailSender(send).send
        await self._app(scope, receive, send)


class _DetailSender:
    """Holds the head of an error back until its body is there: the length changes."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._head: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._head = message
            return
        if self._head is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            body = _detailed(self._body)
            headers = [pair for pair in self._head["headers"] if pair[0].lower() != b"content-length"]
            await self._send({**self._head, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
            await self._send({"type": "http.response.body", "body": body})


def _detailed(body: bytes) -> bytes:
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body
    param = error["param"]
    named = param is None or param in error["message"]
    return json.dumps({"detail": error["message"] if named else f"{param}: {error['message']}"}).encode()


def _without_names(pattern: str) -> str:
    """A pattern of many has each group's name once only."""
    return re.sub(r"\(\?P<\w+>", "(?:", pattern)


FormValues = Mapping[str, Sequence[str]]


def job_form(
    fields: type[BaseModel], parse: Callable[[FormValues], JobRequest], *, file_field: str = "file"
) -> JobForm:
    """Return how a form with these fields, and no others, is read as a job."""

    def check(name: str, seen: int) -> None:
        if name not in fields.model_fields:
            raise InvalidRequest(f"there is no such field; there are {', '.join(fields.model_fields)}", name)
        if seen and name not in LISTS:
            raise InvalidRequest(f"{name} is given more than once", name)

    return JobForm(check_field=check, parse=parse, shape=FormShape(file=file_field))
