"""Questions over collections, answered with citations."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from pipelines.domain.answer import ChatEvent, ChatRequest, CitationsEvent, Message
from pipelines.domain.job import Job, JobKind, JobRequest
from pipelines.errors import InvalidRequest
from pipelines.retrieval.answers import answer_question, check_question, collect_answer
from pipelines.retrieval.ports import MAX_MESSAGE_CHARACTERS, MAX_MESSAGES
from serve_app.api.edge.authentication import Caller, Chatter
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import RequestBody, SamplingFields, ServicesOf, while_connected
from serve_app.api.edge.streaming import EventStreamResponse, ServerSentEvent, started
from serve_app.api.jobs.fields import IdempotencyKey
from serve_app.api.jobs.submission import ACCEPTED, BackgroundFields, accepted, submit_request
from serve_app.api.retrieval.chat_shapes import ChatBody, chat_body, chat_event
from serve_app.api.retrieval.collections import require_collections
from serve_app.api.retrieval.search import CollectionsField, FilterFields
from serve_app.services import Services
from serve_app.settings import LimitSettings

router = APIRouter(tags=["chat"])
_STREAM = {
    "description": "The answer; with `stream`, the events `sources`, `delta` …, `citations`, `done` or `error`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


class MessageFields(RequestBody):
    """One turn of the conversation."""

    role: Literal["user", "assistant"]
    content: str = Field(min_length=1, max_length=MAX_MESSAGE_CHARACTERS)


class ChatFields(CollectionsField, BackgroundFields):
    """A question, or a conversation that ends with one."""

    question: str | None = Field(default=None, min_length=1)
    messages: Annotated[list[MessageFields], Field(max_length=MAX_MESSAGES)] = Field(default=[])
    mode: Literal["hybrid", "dense", "sparse"] = "hybrid"
    top_k: int = Field(default=8, ge=1, le=50, description="Passages to answer from, at most.")
    filters: FilterFields = FilterFields()
    rerank: bool | None = Field(default=None, description="Left out: where this deployment has a reranker.")
    sampling: SamplingFields = SamplingFields()
    stream: bool = False

    @model_validator(mode="after")
    def _question_or_messages(self) -> "ChatFields":
        if (self.question is None) == (not self.messages):
            raise PydanticCustomError("question", "give either question or messages")
        return self

    def to_request(self) -> ChatRequest:
        """Return the flow's record."""
        messages = tuple(Message(role=message.role, content=message.content) for message in self.messages)
        return ChatRequest(
            messages=(Message(role="user", content=self.question),) if self.question else messages,
            collections=self.names,
            mode=self.mode,
            top_k=self.top_k,
            filters=self.filters.to_filters(),
            rerank=self.rerank,
            sampling=self.sampling.to_sampling(),
        )

    def to_job_request(self) -> JobRequest:
        """Return what the job is listed by: all but what is asked."""
        only = self.names[0] if len(self.names) == 1 else None
        return JobRequest(features=(), collection=only, priority=self.job_priority)


@router.post(
    "/v1/chat",
    summary="Ask, and get an answer whose citations can be heard",
    response_model=ChatBody,
    responses={200: _STREAM, **ACCEPTED, **error_answers(404, 409)},
)
async def chat(
    request: Request,
    fields: ChatFields,
    caller: Chatter,
    services: ServicesOf,
    idempotency_key: IdempotencyKey,
) -> ChatBody | Response:
    """Answer from the recordings of one or several collections; a client that goes away stops the work.

    In the background, the job's `results` have the answer as `chat`.
    """
    _check(fields, services.settings.limits)
    asked = fields.to_request()
    with _named_as_sent(fields):
        if fields.background:
            return accepted(await answer_later(services, caller, idempotency_key, asked, fields.to_job_request()))
        events = _counted(answer_question(services.chat, caller.tenant, asked), services)
        if not fields.stream:
            return chat_body(await while_connected(request, collect_answer(events)))
        begun = await while_connected(request, started(_encoded(events)))
    return EventStreamResponse(begun)


async def answer_later(
    services: Services, caller: Caller, idempotency_key: str | None, asked: ChatRequest, job_request: JobRequest
) -> Job:
    """Acknowledge a job that answers a question. Raises as check_question and submit_request do, and NotFound."""
    check_question(services.chat, asked)
    await require_collections(services.passages, caller.tenant, asked.collections)
    return await submit_request(services, caller, idempotency_key, JobKind.CHAT, job_request, asked)


@contextmanager
def _named_as_sent(fields: ChatFields) -> Iterator[None]:
    """Let an error name the field that was sent: the flow knows a question as the last of the messages."""
    try:
        yield
    except InvalidRequest as error:
        if fields.question is None or error.param != "messages":
            raise
        raise type(error)(error.message, "question") from error


async def _encoded(events: AsyncGenerator[ChatEvent, None]) -> AsyncGenerator[ServerSentEvent, None]:
    async with aclosing(events):
        async for event in events:
            yield chat_event(event)


async def _counted(events: AsyncGenerator[ChatEvent, None], services: Services) -> AsyncGenerator[ChatEvent, None]:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, CitationsEvent) and event.removed:
                services.metrics.count("citations_removed", event.removed, reason="unfounded")
            yield event


def _check(fields: ChatFields, limits: LimitSettings) -> None:
    fields.check_background()
    if fields.background and fields.stream:
        raise InvalidRequest("an answer is streamed or made in the background, not both", "background")
    asked = fields.question or fields.messages[-1].content
    if len(asked) > limits.query_characters:
        name = "question" if fields.question else "messages"
        raise InvalidRequest(f"a question has at most {limits.query_characters:,} characters", name)
