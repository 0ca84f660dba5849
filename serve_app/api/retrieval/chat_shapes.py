"""What a chat answers with: one body, or events of the same records."""

from typing import Any

from pydantic import BaseModel

from pipelines.domain.answer import (
    Answer,
    ChatEvent,
    Citation,
    CitationsEvent,
    DeltaEvent,
    DoneEvent,
    ErrorEvent,
    Source,
    SourcesEvent,
)
from pipelines.domain.encoding import to_plain
from serve_app.api.edge.shapes import DegradationBody
from serve_app.api.edge.streaming import ServerSentEvent
from serve_app.api.retrieval.search import HitBody, audio_address, hit_body


class CitationBody(BaseModel):
    """A checked pointer into a recording, and the address at which it can be heard."""

    n: int
    job_id: str
    collection: str
    passage_id: str
    recording: str
    start_s: float
    end_s: float
    speaker: str | None
    quote: str
    revision: int
    """Of the transcript that is quoted."""
    audio: str


class SourceBody(HitBody):
    """A passage that the answer may cite as ``n``."""

    n: int


class UsageBody(BaseModel):
    """Tokens in and out, of all model calls for an answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatBody(BaseModel):
    """A whole answer; ``[1]`` in its text points at the citation of that number."""

    answer: str
    question: str
    citations: list[CitationBody]
    removed_citations: int
    sources: list[SourceBody]
    finish_reason: str
    usage: UsageBody | None
    grounded: bool
    versions: dict[str, Any]
    degraded: list[DegradationBody]


def chat_body(answer: Answer) -> ChatBody:
    """Show a whole answer."""
    return ChatBody(
        answer=answer.text,
        question=answer.question,
        citations=[_citation(citation) for citation in answer.citations],
        removed_citations=answer.removed_citations,
        sources=[_source(source) for source in answer.sources],
        finish_reason=answer.finish_reason,
        usage=_usage(answer),
        grounded=answer.grounded,
        versions=dict(answer.versions),
        degraded=[DegradationBody(**to_plain(entry)) for entry in answer.degraded],
    )


def chat_event(event: ChatEvent) -> ServerSentEvent:
    """Show one event of an answer under way."""
    return ServerSentEvent(type=event.type, data=_data(event))


def _data(event: ChatEvent) -> dict[str, Any]:
    match event:
        case SourcesEvent():
            sources = [_source(source).model_dump() for source in event.sources]
            return {"question": event.question, "sources": sources}
        case DeltaEvent():
            return {"text": event.text}
        case CitationsEvent():
            citations = [_citation(citation).model_dump() for citation in event.citations]
            return {"citations": citations, "removed_citations": event.removed}
        case DoneEvent():
            return _done(event)
        case ErrorEvent():
            detail = {"message": event.message, "type": "server_error", "param": None, "code": event.code}
            return {"error": detail, "retryable": event.retryable}


def _done(event: DoneEvent) -> dict[str, Any]:
    usage = _usage(event)
    return {
        "finish_reason": event.finish_reason,
        "usage": usage.model_dump() if usage else None,
        "grounded": event.grounded,
        "versions": dict(event.versions),
        "degraded": [to_plain(entry) for entry in event.degraded],
    }


def _source(source: Source) -> SourceBody:
    return SourceBody(n=source.n, **hit_body(source.hit).model_dump())


def _citation(citation: Citation) -> CitationBody:
    audio = audio_address(citation.job_id, citation.start_s, citation.end_s)
    return CitationBody(**to_plain(citation), audio=audio)


def _usage(answer: Answer | DoneEvent) -> UsageBody | None:
    if answer.usage is None:
        return None
    tokens = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    return UsageBody(prompt_tokens=tokens[0], completion_tokens=tokens[1], total_tokens=sum(tokens))
