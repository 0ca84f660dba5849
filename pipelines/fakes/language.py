"""A language model that follows a script, behaves like a server, and remembers what was asked of it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from pipelines.domain.answer import Completion, CompletionChunk, FinishReason, Message, SamplingOptions, TokenUsage
from pipelines.domain.model import LanguageModelInfo
from pipelines.errors import GenerationTruncated, InvalidRequest
from pipelines.language.schemas import minimal_value


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedAnswer:
    """One answer of a script."""

    text: str = ""
    finish_reason: FinishReason = "stop"
    error: Exception | None = None
    """Raised instead of answering."""
    gate: asyncio.Event | None = None
    """The answer waits for it: a slow model, without sleeping."""


Reply = ScriptedAnswer | str | Exception
Script = Sequence[Reply] | Callable[[Sequence[Message], Mapping[str, object] | None], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What one call asked for."""

    messages: tuple[Message, ...]
    sampling: SamplingOptions
    schema: Mapping[str, object] | None


class ScriptedLanguageModel:
    """Answers by script. Implements LanguageModel.

    A sequence is answered in order, and its last entry again and again; a function answers by what was asked. Without
    a script, a schema gets the smallest value that fits it, and anything else gets the last message back.
    """

    def __init__(
        self, script: Script = (), *, context_tokens: int = 8192, info: LanguageModelInfo | None = None
    ) -> None:
        self._script = script
        self._context_tokens = context_tokens
        self._info = info
        self.calls: list[Call] = []
        self.relayed: list[Mapping[str, object]] = []
        """Clients' own requests."""
        self.closed_streams = 0
        """Streams that the consumer left before they had ended."""
        self.running = 0
        """Calls under way."""
        self.most_at_once = 0
        self.on_closed: Callable[[], None] | None = None
        """Called when a stream was left."""
        self._started = asyncio.Condition()
        self._idle = asyncio.Event()

    async def generate(
        self, messages: Sequence[Message], *, sampling: SamplingOptions, schema: Mapping[str, object] | None = None
    ) -> Completion:
        """Return the next answer of the script, or raise what it says."""
        answer = self._next(messages, sampling, schema)
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            async with self._started:
                self._started.notify_all()
            await _wait(answer)
        finally:
            self.running -= 1
            if self.running == 0:
                self._idle.set()
        if schema is not None and answer.finish_reason == "length":
            raise GenerationTruncated("the language model stopped at its token limit")
        return Completion(
            text=answer.text,
            finish_reason=answer.finish_reason,
            usage=self._usage(messages, answer.text),
            sampling={key: value for key, value in _plain(sampling).items() if value is not None},
        )

    async def relay(self, body: Mapping[str, object]) -> Mapping[str, object]:
        """Answer by script as a ``chat.completion``; a format with a schema is kept. Implements ChatRelay."""
        self.relayed.append(body)
        completion = await self.generate(_messages(body), sampling=SamplingOptions(), schema=_asked_schema(body))
        message = {"role": "assistant", "content": completion.text}
        choice = {"index": 0, "message": message, "finish_reason": completion.finish_reason, "logprobs": None}
        return {**_RELAYED, "object": "chat.completion", "choices": [choice], "usage": _usage_body(completion.usage)}

    async def relay_stream(self, body: Mapping[str, object]) -> AsyncGenerator[Mapping[str, object], None]:
        """Answer by script in chunks, the usage in the last. Implements ChatRelay."""
        self.relayed.append(body)
        async with aclosing(self.stream(_messages(body), sampling=SamplingOptions())) as chunks:
            async for chunk in chunks:
                delta = {"role": "assistant", "content": chunk.text} if chunk.text else {}
                choice = {"index": 0, "delta": delta, "finish_reason": chunk.finish_reason}
                yield {**_RELAYED, "object": "chat.completion.chunk", "choices": [choice]}
                if chunk.usage is not None:
                    usage = _usage_body(chunk.usage)
                    yield {**_RELAYED, "object": "chat.completion.chunk", "choices": [], "usage": usage}

    async def until_running(self, calls: int) -> None:
        """Wait until so many calls are under way at once."""
        async with self._started:
            await self._started.wait_for(lambda: self.running >= calls)

    async def until_idle(self) -> None:
        """Wait until the last call that was under way has ended, however it did."""
        if self.running:
            self._idle.clear()
            await self._idle.wait()

    async def stream(
        self, messages: Sequence[Message], *, sampling: SamplingOptions
    ) -> AsyncGenerator[CompletionChunk, None]:
        """Yield the next answer word by word."""
        answer = self._next(messages, sampling, None)
        try:
            await _wait(answer)
            for piece in _pieces(answer.text):
                await asyncio.sleep(0)
                yield CompletionChunk(text=piece)
            usage = self._usage(messages, answer.text)
            yield CompletionChunk(text="", finish_reason=answer.finish_reason, usage=usage)
        except (GeneratorExit, asyncio.CancelledError):
            self.closed_streams += 1
            if self.on_closed:
                self.on_closed()
            raise

    async def count_tokens(self, texts: Sequence[str]) -> tuple[int, ...]:
        """Count a token for every started four characters."""
        return tuple(-(-len(text) // 4) for text in texts)

    async def info(self) -> LanguageModelInfo:
        """Describe the fake."""
        return self._info or LanguageModelInfo(
            backend="fake",
            name="scripted",
            checkpoint_hash="sha256:fake",
            capabilities=("structured_output",),
            context_tokens=self._context_tokens,
            generation_config={"top_p": 0.9},
        )

    def _next(
        self, messages: Sequence[Message], sampling: SamplingOptions, schema: Mapping[str, object] | None
    ) -> ScriptedAnswer:
        asked = len(self.calls)
        self.calls.append(Call(messages=tuple(messages), sampling=sampling, schema=schema))
        if self._usage(messages, "").prompt_tokens > self._context_tokens:
            raise InvalidRequest("the messages exceed the model's context", "messages")
        if callable(self._script):
            return _as_answer(self._script(messages, schema))
        if self._script:
            return _as_answer(self._script[min(asked, len(self._script) - 1)])
        return ScriptedAnswer(text=json.dumps(minimal_value(schema)) if schema else messages[-1].content)

    def _usage(self, messages: Sequence[Message], text: str) -> TokenUsage:
        asked = sum(len(message.content) for message in messages)
        return TokenUsage(prompt_tokens=-(-asked // 4), completion_tokens=-(-len(text) // 4))


_RELAYED: Mapping[str, object] = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "scripted"}


def _messages(body: Mapping[str, object]) -> tuple[Message, ...]:
    given: Any = body["messages"]
    return tuple(Message(role=entry["role"], content=entry["content"] or "") for entry in given)


def _asked_schema(body: Mapping[str, object]) -> Mapping[str, object] | None:
    asked: Any = body.get("response_format") or {}
    schema: Mapping[str, object] | None = asked.get("json_schema", {}).get("schema")
    return schema


def _usage_body(usage: TokenUsage | None) -> Mapping[str, int] | None:
    if usage is None:
        return None
    tokens = (usage.prompt_tokens, usage.completion_tokens)
    return {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}


def _as_answer(reply: Reply) -> ScriptedAnswer:
    if isinstance(reply, ScriptedAnswer):
        return reply
    return ScriptedAnswer(text=reply) if isinstance(reply, str) else ScriptedAnswer(error=reply)


async def _wait(answer: ScriptedAnswer) -> None:
    await asyncio.sleep(0)
    if answer.gate is not None:
        await answer.gate.wait()
    if answer.error is not None:
        raise answer.error


def _pieces(text: str) -> list[str]:
    words = text.split(" ")
    return [word if place == 0 else f" {word}" for place, word in enumerate(words)]


def _plain(sampling: SamplingOptions) -> dict[str, object]:
    return {name: getattr(sampling, name) for name in SamplingOptions.__dataclass_fields__}
