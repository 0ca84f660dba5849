"""A client that goes away stops the language model, through everything that runs in between: watched at the model."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from pipelines.domain.answer import Completion, CompletionChunk, Message, SamplingOptions
from pipelines.fakes.language import ScriptedLanguageModel
from serve_app.laptop.launch import RunningApplication, serving
from tests.contracts.language_model_server import ChatEndpoint
from tests.contracts.language_model_server import serving as serving_model
from tests.serve.conftest import FAKE_MODELS, write_config
from tests.serve.test_application import events_of, submit

pytestmark = pytest.mark.serve

DEADLINE_S = 30.0
"""For what has to begin before the client leaves: not what is measured."""
LIMIT_S = 1.0
"""What is promised, where nothing else holds this machine up …"""
ATTEMPTS = 3
"""… which once in so many times should be so."""
QUESTION = "When is the deadline next Friday?"


class EndlessModel(ScriptedLanguageModel):
    """Never ends an answer; says when it has begun one, and when one was left. It says one word before it waits."""

    def __init__(self, *, words: Sequence[str] = ("Friday",)) -> None:
        super().__init__()
        self.words = words
        self.began = threading.Event()
        self.left = threading.Event()

    async def generate(
        self, messages: Sequence[Message], *, sampling: SamplingOptions, schema: Any = None
    ) -> Completion:
        await self._for_ever()
        raise AssertionError

    async def stream(
        self, messages: Sequence[Message], *, sampling: SamplingOptions
    ) -> AsyncGenerator[CompletionChunk, None]:
        for word in self.words:
            yield CompletionChunk(text=word)
        await self._for_ever()

    async def _for_ever(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()


@dataclass
class Stage:
    """The application, and the model behind it."""

    application: RunningApplication
    endpoint: ChatEndpoint
    collection: str = "meetings"

    def play(self, *words: str) -> EndlessModel:
        self.endpoint.model = EndlessModel(words=words)
        return self.endpoint.model


@dataclass
class ServedModel:
    """The model's server in a thread of its own."""

    endpoint: ChatEndpoint = field(default_factory=lambda: ChatEndpoint(EndlessModel()))
    ready: threading.Event = field(default_factory=threading.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    async def serve(self) -> None:
        async with serving_model(self.endpoint):
            self.ready.set()
            await self.stop.wait()


@contextmanager
def served_model() -> Iterator[ChatEndpoint]:
    served = ServedModel()
    thread = threading.Thread(target=served.loop.run_until_complete, args=(served.serve(),))
    thread.start()
    try:
        assert served.ready.wait(DEADLINE_S)
        yield served.endpoint
    finally:
        served.loop.call_soon_threadsafe(served.stop.set)
        thread.join()
        served.loop.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("cancellation")
    with served_model() as endpoint:
        language_model = {"backend": "openai", "model": "tiny", "base_url": endpoint.base_url}
        config = write_config(folder / "config.yaml", {**FAKE_MODELS, "language_model": language_model})
        with serving(config, port=0, data=folder / "data") as application:
            with httpx.Client(base_url=application.url, timeout=60.0) as client:
                job_id = submit(client, features="index", collection="meetings")
                assert events_of(client, job_id)[-1]["event"] == "succeeded"
            yield Stage(application, endpoint)


def leave_once(begun: threading.Event, application: RunningApplication, body: dict[str, Any]) -> None:
    """Ask, and hang up without a word as soon as the model is at work."""
    asked = json.dumps({"collection": "meetings", **body}).encode()
    head = (
        "POST /v1/chat HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(asked)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", application.port), timeout=DEADLINE_S) as client:
        client.sendall(head.encode() + asked)
        assert begun.wait(DEADLINE_S)


def assert_noticed(stage: Stage, words: tuple[str, ...], body: dict[str, Any]) -> None:
    """Leave until that is noticed in time: always soon, and within ``LIMIT_S`` where nothing holds this machine up."""
    for _ in range(ATTEMPTS):
        model = stage.play(*words)
        leave_once(model.began, stage.application, body)
        if model.left.wait(LIMIT_S):
            return
        assert model.left.wait(DEADLINE_S)
    raise AssertionError(f"nobody noticed within {LIMIT_S} s")


@pytest.mark.parametrize("words", [("Friday",), ()], ids=["in-an-answer", "before-its-first-word"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_leaving_stops_the_generation(stage: Stage, stream: bool, words: tuple[str, ...]) -> None:
    assert_noticed(stage, words, {"question": QUESTION, "stream": stream})


def test_leaving_stops_the_rewriting_that_comes_before_retrieval(stage: Stage) -> None:
    turns = [("user", "Tell me about the project."), ("assistant", "It has a deadline."), ("user", "When is it?")]
    messages = [{"role": role, "content": content} for role, content in turns]
    assert_noticed(stage, (), {"messages": messages, "stream": True})
