"""The chat format that OpenAI defined and vLLM, llama.cpp, Ollama and others speak: requests out, answers in.

Source: OpenAI's API reference, "Create chat completion"; vLLM adds ``top_k``, ``repetition_penalty`` and
``chat_template_kwargs``.
"""

import codecs
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import IncrementalNewlineDecoder
from typing import Any

from pipelines.domain.answer import Completion, CompletionChunk, FinishReason, Message, SamplingOptions, TokenUsage
from pipelines.errors import (
    DeadlineExceeded,
    GenerationTruncated,
    InvalidRequest,
    ModelError,
    ModelUnavailable,
    Overloaded,
    RayScribeError,
)

_FINISH_REASONS: dict[object, FinishReason] = {"stop": "stop", "length": "length", None: "stop"}
_TOO_LONG = ("context length", "context_length", "maximum model length", "context window", "exceed_context")
_REFUSED = (400, 413, 422)
"""What an endpoint answers to a request that it would refuse again; the next one may be to its liking."""
_NEUTRAL = {"repetition_penalty": 1.0}
"""Values that change nothing are not sent: strict endpoints refuse fields that they do not know."""


def sampling_body(sampling: SamplingOptions) -> dict[str, object]:
    """Return the decoding parameters that are set, under their names in the request."""
    names = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "seed")
    values = {name: getattr(sampling, name) for name in names}
    body = {name: value for name, value in values.items() if value is not None and _NEUTRAL.get(name) != value}
    return body | ({"stop": list(sampling.stop)} if sampling.stop else {})


def chat_body(
    model: str,
    messages: Sequence[Message],
    sampling: SamplingOptions,
    *,
    schema: Mapping[str, object] | None = None,
    stream: bool = False,
    extra: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Return the body of ``POST /chat/completions``; ``schema`` asks for guided JSON."""
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        **sampling_body(sampling),
        **(extra or {}),
    }
    if schema is not None:
        guided = {"name": "answer", "schema": dict(schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": guided}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def relay_body(
    model: str, body: Mapping[str, object], extra: Mapping[str, object], *, stream: bool
) -> dict[str, object]:
    """Return somebody's own request as this endpoint is asked: its model, what it always wants, and the usage."""
    asked = {**body, **extra, "model": model, "stream": stream}
    return asked | {"stream_options": {"include_usage": True}} if stream else asked


def read_event(line: str) -> dict[str, object] | None:
    """Return what one line of a stream holds; None for a line without data. Raises ModelUnavailable."""
    data = line.removeprefix("data:").strip()
    if not line.startswith("data:") or data == "[DONE]":
        return None
    try:
        payload: dict[str, object] = json.loads(data, strict=False)
        failed = payload.get("error")
    except (ValueError, AttributeError) as error:
        raise ModelUnavailable("the language model's endpoint sent a line that is not a chunk") from error
    if failed:
        raise ModelUnavailable("the language model's endpoint failed in the middle of an answer")
    return payload


def refused_relay() -> InvalidRequest:
    """Return what it means that an endpoint does not take somebody's own request: the fault is the request's."""
    return InvalidRequest("the language model does not take this request: a field of it, or its tools or format")


def read_completion(payload: Any, sampling: SamplingOptions, *, guided: bool) -> Completion:
    """Read the answer to a request that was not streamed.

    Raises GenerationTruncated where guided JSON hit its limit, ModelUnavailable for anything that is no such answer.
    """
    try:
        choice = payload["choices"][0]
        text = choice["message"].get("content") or ""
        completion = Completion(
            text=str(text),
            finish_reason=_FINISH_REASONS.get(choice.get("finish_reason"), "error"),
            usage=_usage(payload.get("usage")),
            sampling=sampling_body(sampling),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ModelUnavailable("the language model's endpoint sent something that is not an answer") from error
    if guided and completion.finish_reason == "length":
        raise GenerationTruncated("the language model stopped at its token limit")
    return completion


class EventLines:
    """Cuts a stream of server-sent events into lines, however its bytes arrive: at LF, CR LF and CR, nowhere else.

    ``str.splitlines``, and httpx with it, also cuts at U+0085, U+2028 and others, which JSON may carry as they are.
    httpx-sse cuts rightly, but only a response of httpx. Source: WHATWG HTML, "Parsing an event stream".
    """

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._decoder = IncrementalNewlineDecoder(decoder, translate=True)
        self._rest = ""

    def feed(self, piece: bytes) -> list[str]:
        """Return the lines that end in this piece, without their ends."""
        return self._cut(self._decoder.decode(piece))

    def rest(self) -> list[str]:
        """Return what is left when no piece follows: an endpoint need not end its last line."""
        return [*self._cut(self._decoder.decode(b"", final=True)), self._rest]

    def _cut(self, text: str) -> list[str]:
        *lines, self._rest = (self._rest + text).split("\n")
        return lines


@dataclass(slots=True)
class ChunkReader:
    """Reads a stream of server-sent events, line by line, into chunks; the last one comes from ``last``."""

    _finish_reason: FinishReason | None = field(default=None, init=False)
    _usage: TokenUsage | None = field(default=None, init=False)

    def read(self, line: str) -> CompletionChunk | None:
        """Return the text of one line of the stream, or None where it has none. Raises ModelUnavailable."""
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            return None
        try:
            # Not strict: control characters that an endpoint has left as they are do no harm inside a string.
            return self._read_payload(json.loads(data, strict=False))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise ModelUnavailable("the language model's endpoint sent a line that is not a chunk") from error

    def last(self) -> CompletionChunk:
        """Return the chunk with finish reason, and usage where the endpoint told it.

        Raises ModelUnavailable where the answer broke off.
        """
        if self._finish_reason is None:
            raise ModelUnavailable("the language model's answer broke off")
        return CompletionChunk(text="", finish_reason=self._finish_reason, usage=self._usage)

    def _read_payload(self, payload: Any) -> CompletionChunk | None:
        if payload.get("error"):
            raise ModelUnavailable("the language model's endpoint failed in the middle of an answer")
        self._usage = _usage(payload.get("usage")) or self._usage
        choices = payload.get("choices")
        if not choices:
            return None
        choice = choices[0]
        if reason := choice.get("finish_reason"):
            self._finish_reason = _FINISH_REASONS.get(reason, "error")
        text = (choice.get("delta") or {}).get("content")
        return CompletionChunk(text=text) if text else None


def refusal(status: int, body: str, retry_after: str | None = None) -> RayScribeError:
    """Return what an error status means here. The body may quote the prompt: it is read, never repeated."""
    lowered = body.lower()
    if status in _REFUSED and any(phrase in lowered for phrase in _TOO_LONG):
        return InvalidRequest("the messages exceed the language model's context", "messages")
    if status == 429:
        return Overloaded("the language model's endpoint is busy", None, _seconds(retry_after))
    if status in _REFUSED:
        return ModelError(f"the language model's endpoint does not take this request ({status})")
    if status in (408, 504):
        return DeadlineExceeded("the language model's endpoint did not answer in time")
    meaning = {401: "refused the key", 403: "refused the key", 404: "does not know this model or path"}
    return ModelUnavailable(f"the language model's endpoint {meaning.get(status, f'answered {status}')}")


def _usage(value: Any) -> TokenUsage | None:
    """Return what the endpoint says that it counted; None where it does not say both."""
    prompt, completion = ((value or {}).get(name) for name in ("prompt_tokens", "completion_tokens"))
    if prompt is None or completion is None:
        return None
    return TokenUsage(prompt_tokens=int(prompt), completion_tokens=int(completion))


def _seconds(retry_after: str | None) -> float:
    try:
        return max(float(retry_after or 1.0), 0.0)
    except ValueError:
        return 1.0
