"""OpenAI's chat completions: the language model as it is, or a collection that answers with citations."""

import re
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import JSONResponse, Response

from pipelines.domain.answer import (
    Answer,
    ChatRequest,
    Citation,
    CitationsEvent,
    DeltaEvent,
    DoneEvent,
    ErrorEvent,
    Message,
    SamplingOptions,
    TokenUsage,
)
from pipelines.domain.encoding import to_plain
from pipelines.errors import InvalidRequest, NoLanguageModel, NotAvailable, NotFound
from pipelines.retrieval.answers import answer_question, collect_answer
from pipelines.retrieval.ports import MAX_MESSAGES
from serve_app.api.edge.authentication import Chatter
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import RequestBody, ServicesOf, while_connected
from serve_app.api.edge.streaming import EventStreamResponse, ServerSentEvent, started
from serve_app.api.jobs.fields import NAME_PATTERN
from serve_app.api.openai.models import COLLECTION_PREFIX
from serve_app.api.retrieval.search import audio_address
from serve_app.services import Services

router = APIRouter(tags=["openai"])
_MARKER = re.compile(r"\[(\d{1,3})\]")


class TextPart(RequestBody):
    """A piece of a message. Only text: what a client points at is not fetched."""

    type: Literal["text"]
    text: str


class ChatMessage(RequestBody):
    """One turn. A collection reads what the user and the assistant said."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[TextPart], Field(max_length=1_000)] | None = None
    name: str | None = Field(default=None, max_length=200)
    tool_calls: Annotated[list[dict[str, Any]], Field(max_length=128)] | None = None
    tool_call_id: str | None = Field(default=None, max_length=200)
    refusal: str | None = None

    @property
    def text(self) -> str | None:
        """The content as one text."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content

    def to_engine(self) -> dict[str, Any]:
        """Return the turn as engines of all kinds take it."""
        role = "system" if self.role == "developer" else self.role
        kept = self.model_dump(include={"name", "tool_calls", "tool_call_id"}, exclude_none=True)
        return {"role": role, "content": self.text, **kept}


class StreamOptions(RequestBody):
    """What a stream tells besides."""

    include_usage: bool = False
    include_obfuscation: bool = Field(default=False, description="Not used.")


class ChatCompletionFields(RequestBody):
    """A conversation to go on with. All but messages, sampling and stream is the engine's to understand."""

    model: str = Field(max_length=200, description="A name that `GET /v1/models` lists, or `collection:NAME`.")
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1_000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0.0, le=2.0, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0, allow_inf_nan=False)
    max_tokens: int | None = Field(default=None, ge=1, le=131_072)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=131_072)
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    n: int | None = Field(default=None, ge=1, le=8)
    presence_penalty: float | None = Field(default=None, ge=-2.0, le=2.0, allow_inf_nan=False)
    frequency_penalty: float | None = Field(default=None, ge=-2.0, le=2.0, allow_inf_nan=False)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    logit_bias: dict[str, float] | None = None
    response_format: dict[str, Any] | None = Field(default=None, description="`json_schema`, `json_object` or `text`.")
    tools: Annotated[list[dict[str, Any]], Field(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = Field(default=None, max_length=20)
    user: str | None = Field(default=None, max_length=200, description="Not used.")
    store: bool | None = Field(default=None, description="Not used: nothing is kept.")
    metadata: dict[str, str] | None = Field(default=None, description="Not used.")

    @model_validator(mode="after")
    def _options_belong_to_a_stream(self) -> "ChatCompletionFields":
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError("stream_options", "stream_options need stream")
        return self

    @property
    def tells_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def to_engine(self) -> dict[str, Any]:
        """Return the body for the engine."""
        ours = {"model", "messages", "stream", "stream_options", "user", "store", "metadata"}
        asked = self.model_dump(exclude=ours, exclude_none=True)
        return {"messages": [message.to_engine() for message in self.messages], **asked}

    def to_question(self, collection: str) -> ChatRequest:
        """Return the conversation as a question to a collection. Raises NotAvailable for what only an engine does."""
        for name in ("tools", "tool_choice", "response_format", "n", "logprobs", "top_logprobs", "logit_bias"):
            if getattr(self, name) is not None:
                raise NotAvailable(f"a collection does not take {name}", name)
        spoken = [message for message in self.messages if message.role in ("user", "assistant") and message.text]
        if not spoken or spoken[-1].role != "user":
            raise InvalidRequest("the last message must be the user's question", "messages")
        return ChatRequest(
            # The latest turns: what it and they mean stands there.
            messages=tuple(
                Message(role="user" if message.role == "user" else "assistant", content=message.text or "")
                for message in spoken[-MAX_MESSAGES:]
            ),
            collections=(collection,),
            sampling=SamplingOptions(
                temperature=self.temperature,
                top_p=self.top_p,
                max_tokens=self.max_completion_tokens or self.max_tokens,
                seed=self.seed,
                stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            ),
        )


class ChatCompletion(BaseModel):
    """An answer in OpenAI's shape; the engine's own fields stand beside these."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None


_STREAM = {
    "description": "The answer; with `stream`, chunks and `[DONE]`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


@router.post(
    "/v1/chat/completions",
    summary="Chat with the language model, or with a collection",
    response_model=ChatCompletion,
    responses={200: _STREAM, **error_answers(404, 409)},
)
async def chat_completions(
    request: Request, fields: ChatCompletionFields, caller: Chatter, services: ServicesOf
) -> Response:
    """Pass a request on to the language model; `collection:NAME` answers from recordings, with `annotations`."""
    if fields.model.startswith(COLLECTION_PREFIX):
        return await _ask_collection(request, fields, caller.tenant, services)
    relay = services.chat_relay
    if relay is None or services.language_model is None:
        raise NoLanguageModel("no language model is configured: only collection:NAME answers here", "model")
    await _check_model(fields.model, services)
    body = fields.to_engine()
    if not fields.stream:
        answer = await while_connected(request, _relayed(relay.relay(body)))
        _count_tokens(request, caller.tenant, answer)
        return JSONResponse({**answer, "model": fields.model})
    events = _relay_events(relay.relay_stream(body), fields, partial(_count_tokens, request, caller.tenant))
    return EventStreamResponse(await while_connected(request, started(events)))


async def _relayed(answering: Any) -> Mapping[str, object]:
    answer: Mapping[str, object] = await answering
    return answer


async def _check_model(name: str, services: Services) -> None:
    """Raise NotFound for another name than the loaded model's."""
    if services.settings.openai.aliases.get(name) == "llm" or services.language_model is None:
        return
    loaded = await services.language_model.info()
    if name not in (loaded.name, loaded.backend):
        raise NotFound("there is no such model: GET /v1/models lists what is loaded", "model")


def _count_tokens(request: Request, tenant: str, answer: Mapping[str, object]) -> None:
    """Count what the engine says that it read and wrote."""
    usage = answer.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, Mapping) else None
    if isinstance(tokens, int):
        request.app.state.usage.add(tenant, tokens=tokens)


async def _relay_events(
    chunks: AsyncGenerator[Mapping[str, object], None],
    fields: ChatCompletionFields,
    count: Callable[[Mapping[str, object]], None],
) -> AsyncGenerator[ServerSentEvent, None]:
    async with aclosing(chunks):
        async for chunk in chunks:
            count(chunk)
            # The usage is always asked for, and told where it was wanted.
            if chunk.get("choices") or fields.tells_usage:
                yield ServerSentEvent(data={**chunk, "model": fields.model})
    yield ServerSentEvent(data="[DONE]")


async def _ask_collection(request: Request, fields: ChatCompletionFields, tenant: str, services: Services) -> Response:
    collection = fields.model.removeprefix(COLLECTION_PREFIX)
    if not re.fullmatch(NAME_PATTERN, collection):
        raise NotFound("there is no such collection", "model")
    asked = fields.to_question(collection)
    limit = services.settings.limits.query_characters
    if len(asked.messages[-1].content) > limit:
        raise InvalidRequest(f"a question has at most {limit:,} characters", "messages")
    answering = _CollectionAnswer(fields, str(request.base_url).rstrip("/"))
    events = answer_question(services.chat, tenant, asked)
    try:
        if fields.stream:
            return EventStreamResponse(await while_connected(request, started(answering.events(events))))
        return JSONResponse(answering.whole(await while_connected(request, collect_answer(events))))
    except NotFound as error:
        raise NotFound("there is no such collection", "model") from error


class _CollectionAnswer:
    """One answer from a collection, in OpenAI's shapes."""

    def __init__(self, fields: ChatCompletionFields, address: str) -> None:
        self._fields = fields
        self._address = address
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": fields.model}

    def whole(self, answer: Answer) -> dict[str, Any]:
        """Return the answer as one body."""
        annotations = [*self._annotations(answer.text, answer.citations)]
        message = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": annotations}
        choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": _usage(answer.usage),
            "degraded": [to_plain(entry) for entry in answer.degraded],
        }

    async def events(self, events: AsyncGenerator[Any, None]) -> AsyncGenerator[ServerSentEvent, None]:
        """Yield chunks: the text, then its annotations, the reason for its end, the usage where it is wanted."""
        text = ""
        async with aclosing(events):
            async for event in events:
                match event:
                    case DeltaEvent():
                        yield self._chunk(
                            {"content": event.text} if text else {"role": "assistant", "content": event.text}
                        )
                        text += event.text
                    case CitationsEvent():
                        yield self._chunk({"annotations": [*self._annotations(text, event.citations)]})
                    case DoneEvent():
                        degraded = [to_plain(entry) for entry in event.degraded]
                        yield self._chunk({}, finish_reason=event.finish_reason, degraded=degraded)
                        if self._fields.tells_usage:
                            yield self._event(choices=[], usage=_usage(event.usage))
                    case ErrorEvent():
                        detail = {"message": event.message, "type": "server_error", "param": None, "code": event.code}
                        yield ServerSentEvent(data={"error": detail})
                        return
        yield ServerSentEvent(data="[DONE]")

    def _chunk(
        self, delta: Mapping[str, object], *, finish_reason: str | None = None, **more: object
    ) -> ServerSentEvent:
        return self._event(choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}], **more)

    def _event(self, **more: object) -> ServerSentEvent:
        return ServerSentEvent(data={**self._head, "object": "chat.completion.chunk", **more})

    def _annotations(self, text: str, citations: Sequence[Citation]) -> Iterator[dict[str, Any]]:
        """Point from each ``[1]`` in the text at the moment of the recording that it cites."""
        cited = {citation.n: citation for citation in citations}
        for marker in _MARKER.finditer(text):
            if (citation := cited.get(int(marker[1]))) is not None:
                heard = audio_address(citation.job_id, citation.start_s, citation.end_s)
                speaker = f", {citation.speaker}" if citation.speaker else ""
                told = {
                    "start_index": marker.start(),
                    "end_index": marker.end(),
                    "title": f"{citation.recording}{speaker}",
                    "url": f"{self._address}{heard}",
                    **to_plain(citation),
                }
                yield {"type": "url_citation", "url_citation": told}


def _usage(usage: TokenUsage | None) -> dict[str, int] | None:
    if usage is None:
        return None
    tokens = (usage.prompt_tokens, usage.completion_tokens)
    return {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
