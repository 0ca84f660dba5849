"""``/mcp`` and ``/llms.txt``: the protocol's streamable HTTP, without sessions, so that any replica answers."""

import asyncio

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serve_app.mcp.tools import build_server
from serve_app.services import Services

PATH = "/mcp"
_BODY_BYTES = 1 << 20


class McpEndpoint:
    """An ASGI application for one route. The SDK is imported by the first request: a start need not wait for it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._started: asyncio.Task[None] | None = None
        self._manager: asyncio.Future[object] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one message."""
        if self._manager is None:
            self._manager = asyncio.get_running_loop().create_future()
            self._started = asyncio.create_task(self._run(self._manager))
        manager = await asyncio.shield(self._manager)
        await manager.handle_request(scope, receive, send)  # type: ignore[attr-defined]  # the SDK's, imported late

    async def _run(self, ready: "asyncio.Future[object]") -> None:
        """Keep the SDK's manager open as long as this event loop runs."""
        try:
            manager = await asyncio.to_thread(self._build)
            async with manager.run():  # type: ignore[attr-defined]
                ready.set_result(manager)
                await asyncio.Event().wait()
        except Exception as error:
            self._manager = None  # the next request tries again
            if not ready.done():
                ready.set_exception(error)

    def _build(self) -> object:
        from mcp.server.transport_security import TransportSecuritySettings

        server = build_server(self._services)
        server.streamable_http_app(
            stateless_http=True,
            json_response=True,
            max_request_body_size=_BODY_BYTES,
            # Hosts and origins are looked at before any route (serve_app/api/edge/browser_guard.py).
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        return server.session_manager


_LLMS = """\
# RayScribe

> Recordings become attributed transcripts, structured understanding, and answers whose citations play the moment they
> cite.

Times are seconds from the start of a recording. A recording is a job. Errors are
`{"error": {"message", "type", "param", "code"}}`.

## For language models

- [Tools](/mcp): the Model Context Protocol over streamable HTTP: search, ask, list_collections, list_recordings,
  recording_status, read_recording; with the same key as the API (`Authorization: Bearer KEY`).

## The API

- [OpenAPI document](/openapi.json): every route with its fields and errors
- [Documentation](/docs): the same, for people
- `/v1/audio/transcriptions`, `/v1/chat/completions`, `/v1/embeddings`, `/v1/models`: as OpenAI's clients expect them
"""


async def _llms(_request: Request) -> Response:
    return PlainTextResponse(_LLMS, media_type="text/markdown; charset=utf-8")


def mcp_routes(services: Services) -> tuple[Route, Route]:
    """Return the protocol's route, and what a model reads first (llmstxt.org)."""
    protocol = Route(PATH, McpEndpoint(services), methods=["GET", "POST", "DELETE"], include_in_schema=False)
    return protocol, Route("/llms.txt", _llms, include_in_schema=False)
