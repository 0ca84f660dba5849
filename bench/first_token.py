"""How long after the engine's first token a client of chat sees it, and how long the prompt took to get there.

The engine is a stand-in behind the chat format: it waits a known time, so that its own share can be subtracted.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from bench.search_measures import p50, p99
from bench.serving_searches import fill_folder, searching_application
from bench.synthetic_passages import COLLECTION, made_up
from pipelines.domain.answer import Message, SamplingOptions
from pipelines.language.engines.openai import Endpoint, OpenAILanguageModel
from pipelines.retrieval.engines.minilm import MiniLmEmbedder
from serve_app.laptop.launch import choose_port

ENGINE_S = 0.02
"""What the stand-in takes for its first token."""
WARM_UP = 3
PASSAGES = 500


class ClockedEngine:
    """Answers "yes", and notes when a prompt came and when the first token left."""

    def __init__(self) -> None:
        self.came = 0.0
        self.left = 0.0

    def app(self) -> Starlette:
        """Return the endpoint."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/tokenize", self.tokenize, methods=["POST"]),
            ]
        )

    async def chat(self, request: Request) -> StreamingResponse:
        """Stream one word."""
        self.came = time.perf_counter()
        return StreamingResponse(self._lines(), media_type="text/event-stream")

    async def models(self, request: Request) -> JSONResponse:
        """List the one model."""
        return JSONResponse({"data": [{"id": "clocked", "max_model_len": 8192}]})

    async def tokenize(self, request: Request) -> JSONResponse:
        """Count words."""
        return JSONResponse({"count": len((await request.json())["prompt"].split())})

    async def _lines(self) -> AsyncIterator[str]:
        await asyncio.sleep(ENGINE_S)
        self.left = time.perf_counter()
        for delta, reason in (({"content": "yes"}, None), ({}, "stop")):
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            yield f"data: {json.dumps({'choices': [choice]})}\n\n"
        yield "data: [DONE]\n\n"


@contextmanager
def listening(engine: ClockedEngine, port: int) -> Iterator[None]:
    """Serve the engine in a thread of its own."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        server = uvicorn.Server(uvicorn.Config(engine.app(), log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()


async def asked(client: httpx.AsyncClient, question: str) -> float:
    """Ask over HTTP; return the moment at which the first word of the answer came."""
    body = {"question": question, "collection": COLLECTION, "stream": True, "mode": "sparse"}
    async with client.stream("POST", "/v1/chat", json=body, timeout=120.0) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line == "event: delta":
                return time.perf_counter()
    raise AssertionError("the answer had no word")


async def directly(port: int, engine: ClockedEngine) -> float:
    """Hand a prompt to the engine from this process; return the seconds until it was there."""
    messages = (Message(role="user", content=made_up(1, 400)),)
    async with OpenAILanguageModel(Endpoint(base_url=f"http://127.0.0.1:{port}/v1", model="clocked")) as model:
        started = time.perf_counter()
        async for _ in model.stream(messages, sampling=SamplingOptions()):
            break
        return engine.came - started


async def measure(url: str, port: int, questions: int) -> str:
    """Return the row's cells."""
    engine = ClockedEngine()
    back, there = [], []
    with listening(engine, port):
        async with httpx.AsyncClient(base_url=url) as client:
            for number in range(questions + WARM_UP):
                seen = await asked(client, made_up(number, 25))
                back.append(seen - engine.left)
                there.append(await directly(port, engine))
    added = [one + other for one, other in zip(back[WARM_UP:], there[WARM_UP:], strict=True)]
    values = [p50(there[WARM_UP:]), p50(back[WARM_UP:]), p50(added), p99(added)]
    return " | ".join(f"{value:.1f}" for value in values)


def run(questions: int) -> None:
    """Print the row."""

    async def load() -> MiniLmEmbedder:
        return await MiniLmEmbedder.load()

    embedder = asyncio.run(load())
    port = choose_port(0)
    model = {"backend": "openai", "model": "clocked", "base_url": f"http://127.0.0.1:{port}/v1"}
    with TemporaryDirectory() as name:
        folder = Path(name)
        fill_folder(folder, PASSAGES, asyncio.run(embedder.info()))
        asyncio.run(embedder.close())
        with searching_application(folder, language_model=model) as application:
            cells = asyncio.run(measure(application.url, port, questions))
    print("\n| prompt to the engine, ms at p50 | first token to the client | both: added at p50 | p99 |")
    print(f"| --- | --- | --- | --- |\n| {cells} |")
