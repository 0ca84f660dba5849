"""A language model behind the chat format over HTTP, on the loopback address, in the test's own event loop."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pipelines.domain.answer import Completion, Message, SamplingOptions, TokenUsage
from pipelines.errors import GenerationTruncated, InvalidRequest, ModelUnavailable
from pipelines.fakes.language import ScriptedLanguageModel


@dataclass
class ChatEndpoint:
    """Serves ``model``; ``replies`` are sent raw instead, as (status, body, headers)."""

    model: ScriptedLanguageModel
    replies: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    listed: dict[str, Any] = field(default_factory=lambda: {"data": [{"id": "tiny", "max_model_len": 4096}]})
    tokenizes: bool = True
    not_tokenizing: int = 404
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    base_url: str = ""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/tokenize", self.tokenize, methods=["POST"]),
            ]
        )

    async def models(self, request: Request) -> Response:
        return JSONResponse(self.listed)

    async def tokenize(self, request: Request) -> Response:
        if not self.tokenizes:
            return PlainTextResponse("not here", self.not_tokenizing)
        body = await request.json()
        [count] = await self.model.count_tokens([body["prompt"]])
        return JSONResponse({"count": count})

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.keys.append(request.headers.get("authorization"))
        if self.replies:
            status, text, headers = self.replies.pop(0)
            return Response(text, status, headers)
        messages = [Message(role=message["role"], content=message["content"]) for message in body["messages"]]
        if body.get("stream"):
            return StreamingResponse(self.events(messages), media_type="text/event-stream")
        return await self.answer(request, messages, body)

    async def answer(self, request: Request, messages: list[Message], body: dict[str, Any]) -> Response:
        guided = body.get("response_format")
        schema = guided["json_schema"]["schema"] if guided else None
        answering = asyncio.ensure_future(self.model.generate(messages, sampling=SamplingOptions(), schema=schema))
        leaving = asyncio.ensure_future(request.receive())
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not answering.done():
            answering.cancel()
            return Response(status_code=499)
        return _encoded(answering)

    async def events(self, messages: list[Message]) -> AsyncIterator[str]:
        generated = self.model.stream(messages, sampling=SamplingOptions())
        try:
            async for chunk in generated:
                delta = {"content": chunk.text} if chunk.text else {}
                choice = {"index": 0, "delta": delta, "finish_reason": chunk.finish_reason}
                yield f"data: {json.dumps({'choices': [choice]})}\n\n"
                if chunk.usage:
                    yield f"data: {json.dumps({'choices': [], 'usage': _usage(chunk.usage)})}\n\n"
            yield "data: [DONE]\n\n"
        except ModelUnavailable:
            yield 'data: {"error": {"message": "engine died"}}\n\n'
        finally:
            await generated.aclose()


def _encoded(answering: "asyncio.Future[Completion]") -> Response:
    match answering.exception():
        case None:
            return JSONResponse(_completion(answering.result()))
        case GenerationTruncated():
            cut = Completion(text="{", finish_reason="length", usage=TokenUsage(prompt_tokens=1, completion_tokens=1))
            return JSONResponse(_completion(cut))
        case InvalidRequest():
            return JSONResponse({"error": {"message": "This model's maximum context length is 8192 tokens."}}, 400)
        case ModelUnavailable():
            return JSONResponse({"error": {"message": "engine died: secret prompt"}}, 503)
        case error:
            raise error


def _completion(completion: Completion) -> dict[str, Any]:
    message = {"role": "assistant", "content": completion.text}
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": completion.finish_reason}],
        "usage": _usage(completion.usage),
    }


def _usage(usage: TokenUsage | None) -> dict[str, int] | None:
    return (
        None if usage is None else {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
    )


@asynccontextmanager
async def serving(endpoint: ChatEndpoint) -> AsyncIterator[ChatEndpoint]:
    """Serve on a free port; connections are taken from the first moment on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        endpoint.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        config = uvicorn.Config(endpoint.app(), log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield endpoint
        finally:
            server.should_exit = True
            await running
