"""A language model behind any OpenAI-compatible endpoint that the operator already runs."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx

from pipelines.domain.answer import Completion, CompletionChunk, Message, SamplingOptions
from pipelines.domain.model import LanguageModelInfo
from pipelines.errors import DeadlineExceeded, InvalidRequest, ModelError, ModelUnavailable
from pipelines.language.engines.openai_wire import (
    ChunkReader,
    EventLines,
    chat_body,
    read_completion,
    read_event,
    refusal,
    refused_relay,
    relay_body,
)

_LETTERS_PER_TOKEN = 3.0
"""English has four and more; counted from above, because a prompt that is too long is refused whole."""
_COUNT_AGAIN_AFTER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the model is, and what is known about it."""

    base_url: str
    """With ``/v1``."""
    model: str
    """What the endpoint calls the model."""
    api_key: str = ""
    context_tokens: int = 8192
    connect_timeout_s: float = 5.0
    first_token_timeout_s: float = 30.0
    """Also the longest silence on the line inside a stream."""
    total_timeout_s: float = 120.0
    """For an answer that is not streamed."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Further fields of every request (``chat_template_kwargs``, …)."""
    quantization: str | None = None
    """What the operator knows and the endpoint does not say; so the next."""
    generation_config: Mapping[str, object] | None = None


class OpenAILanguageModel:
    """Implements LanguageModel over HTTP. Use as a context manager, or call ``close``; one instance an event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Make a client; nothing is sent. Proxies and keys of the environment are not looked at."""
        self._endpoint = endpoint
        self._count_again_s = 0.0
        """Until then tokens are estimated: the endpoint could not count, or was away."""
        headers = {"authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
        timeout = httpx.Timeout(endpoint.first_token_timeout_s, connect=endpoint.connect_timeout_s)
        # No limit on connections: the callers bound how many calls are under way.
        self._client = httpx.AsyncClient(
            base_url=endpoint.base_url.rstrip("/") + "/",
            headers=headers,
            timeout=timeout,
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    async def __aenter__(self) -> "OpenAILanguageModel":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; a no-op when closed before."""
        await self._client.aclose()

    async def generate(
        self, messages: Sequence[Message], *, sampling: SamplingOptions, schema: Mapping[str, object] | None = None
    ) -> Completion:
        """Ask for one answer. Cancelling closes the connection, which ends the generation.

        Raises as the port says, and Overloaded where the endpoint answers 429.
        """
        body = self._body(messages, sampling, schema=schema)
        total_s = self._endpoint.total_timeout_s
        payload = await self._post("chat/completions", body, timeout_s=total_s)
        return read_completion(payload, sampling, guided=schema is not None)

    async def stream(
        self, messages: Sequence[Message], *, sampling: SamplingOptions
    ) -> AsyncGenerator[CompletionChunk, None]:
        """Yield text as it comes; closing the generator closes the connection, which ends the generation."""
        reader, lines = ChunkReader(), EventLines()
        body = self._body(messages, sampling, stream=True)
        async with _translated(), self._client.stream("POST", "chat/completions", json=body) as response:
            await _refuse(response)
            async for piece in response.aiter_bytes():
                for chunk in filter(None, map(reader.read, lines.feed(piece))):
                    yield chunk
        for chunk in filter(None, map(reader.read, lines.rest())):
            yield chunk
        yield reader.last()

    async def relay(self, body: Mapping[str, object]) -> Mapping[str, object]:
        """Ask with somebody's own request; see ChatRelay."""
        asked = relay_body(self._endpoint.model, body, self._endpoint.extra, stream=False)
        try:
            answer: Mapping[str, object] = await self._post(
                "chat/completions", asked, timeout_s=self._endpoint.total_timeout_s
            )
        except ModelError as error:
            raise refused_relay() from error
        return answer

    async def relay_stream(self, body: Mapping[str, object]) -> AsyncGenerator[Mapping[str, object], None]:
        """Stream the answer to somebody's own request; see ChatRelay."""
        lines = EventLines()
        asked = relay_body(self._endpoint.model, body, self._endpoint.extra, stream=True)
        try:
            async with _translated(), self._client.stream("POST", "chat/completions", json=asked) as response:
                await _refuse(response)
                async for piece in response.aiter_bytes():
                    for event in filter(None, map(read_event, lines.feed(piece))):
                        yield event
        except ModelError as error:
            raise refused_relay() from error
        for event in filter(None, map(read_event, lines.rest())):
            yield event

    async def count_tokens(self, texts: Sequence[str]) -> tuple[int, ...]:
        """Ask the endpoint (vLLM's ``/tokenize``) where it can say; otherwise, for a minute, estimate from above."""
        if time.monotonic() >= self._count_again_s:
            try:
                return tuple(await asyncio.gather(*map(self._counted, texts)))
            except (ModelUnavailable, ModelError, DeadlineExceeded, KeyError, TypeError, ValueError):
                self._count_again_s = time.monotonic() + _COUNT_AGAIN_AFTER_S
        return tuple(map(estimate_tokens, texts))

    async def info(self) -> LanguageModelInfo:
        """Ask the endpoint for its models; its ``max_model_len`` goes before the configured context length.

        Raises ModelUnavailable, DeadlineExceeded.
        """
        async with _translated():
            response = await self._client.get("models", timeout=self._endpoint.connect_timeout_s)
            try:
                await _refuse(response)
            except ModelError as error:  # Nothing of ours stands in this request that could be wrong.
                raise ModelUnavailable(error.message) from error
            listed = _listed(response, self._endpoint.model)
        context_tokens = listed.get("max_model_len") or self._endpoint.context_tokens
        return LanguageModelInfo(
            backend="openai",
            name=self._endpoint.model,
            device="remote",
            capabilities=("structured_output",),
            structured_output_backend="endpoint",
            # What the endpoint draws with where a request says nothing is its own affair, and not known here.
            known_defaults=False,
            quantization=self._endpoint.quantization,
            generation_config=self._endpoint.generation_config,
            context_tokens=min(int(context_tokens), self._endpoint.context_tokens),
        )

    def _body(
        self,
        messages: Sequence[Message],
        sampling: SamplingOptions,
        *,
        schema: Mapping[str, object] | None = None,
        stream: bool = False,
    ) -> dict[str, object]:
        return chat_body(
            self._endpoint.model, messages, sampling, schema=schema, stream=stream, extra=self._endpoint.extra
        )

    async def _counted(self, text: str) -> int:
        root = self._endpoint.base_url.rstrip("/").removesuffix("/v1")
        body = {"model": self._endpoint.model, "prompt": text, "add_special_tokens": False}
        try:
            answer = await self._post(f"{root}/tokenize", body, timeout_s=self._endpoint.first_token_timeout_s)
        except InvalidRequest:  # longer than its context
            return max(estimate_tokens(text), self._endpoint.context_tokens + 1)
        return int(answer["count"])

    async def _post(self, path: str, body: Mapping[str, object], *, timeout_s: float) -> Any:
        async with _translated(timeout_s):
            response = await self._client.post(path, json=body, timeout=timeout_s)
            await _refuse(response)
            return _decoded(response)


def estimate_tokens(text: str) -> int:
    """Estimate from above how many tokens a text has: words by their letters, digits and signs one by one.

    Letters beyond ASCII count one and a half each, as byte-level tokenizers need for scripts that they know little of.
    """
    ascii_letters = sum(letter.isascii() and letter.isalpha() for letter in text)
    others = sum(letter.isascii() and not letter.isalpha() and not letter.isspace() for letter in text)
    foreign = sum(not letter.isascii() and not letter.isspace() for letter in text)
    return math.ceil(ascii_letters / _LETTERS_PER_TOKEN + others + 1.5 * foreign)


@asynccontextmanager
async def _translated(total_s: float | None = None) -> AsyncIterator[None]:
    """Bring httpx's errors into our tree."""
    try:
        async with asyncio.timeout(total_s):
            yield
    except (TimeoutError, httpx.TimeoutException) as error:
        connecting = isinstance(error, httpx.ConnectTimeout)
        kind = ModelUnavailable if connecting else DeadlineExceeded
        raise kind("the language model's endpoint did not answer in time") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise ModelUnavailable("the language model's endpoint cannot be reached") from error


async def _refuse(response: httpx.Response) -> None:
    if response.is_success:
        return
    body = (await response.aread())[:10_000].decode(errors="replace")
    raise refusal(response.status_code, body, response.headers.get("retry-after"))


def _decoded(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise ModelUnavailable("the language model's endpoint sent something that is not JSON") from error


def _listed(response: httpx.Response, model: str) -> Mapping[str, Any]:
    """Return what the endpoint says about the model. Raises ModelUnavailable where it lists others only."""
    payload = _decoded(response)
    try:
        listed: dict[str, Mapping[str, Any]] = {entry["id"]: entry for entry in payload["data"]}
    except (KeyError, TypeError) as error:
        raise ModelUnavailable("the language model's endpoint sent something that is not a list of models") from error
    if listed and model not in listed:
        raise ModelUnavailable("the language model's endpoint does not serve this model")
    return listed.get(model, {})
