"""A streamed answer as one record."""

from collections.abc import AsyncIterator

from pipelines.domain.answer import Answer, ChatEvent, CitationsEvent, DeltaEvent, DoneEvent, ErrorEvent, SourcesEvent
from pipelines.errors import ModelError, ModelUnavailable


async def collect_answer(events: AsyncIterator[ChatEvent]) -> Answer:
    """Return the whole answer. Raises ModelUnavailable, or ModelError, where the stream ends with an error."""
    text, sources, citations = "", SourcesEvent(sources=(), question=""), CitationsEvent(citations=())
    async for event in events:
        match event:
            case SourcesEvent():
                sources = event
            case DeltaEvent():
                text += event.text
            case CitationsEvent():
                citations = event
            case ErrorEvent():
                raise (ModelUnavailable if event.retryable else ModelError)(event.message)
            case DoneEvent():
                return _answer(text, sources, citations, event)
    raise ModelUnavailable("the answer ended early")


def _answer(text: str, sources: SourcesEvent, citations: CitationsEvent, done: DoneEvent) -> Answer:
    return Answer(
        text=text,
        question=sources.question,
        citations=citations.citations,
        removed_citations=citations.removed,
        sources=sources.sources,
        finish_reason=done.finish_reason,
        usage=done.usage,
        grounded=done.grounded,
        versions=done.versions,
        degraded=done.degraded,
    )
