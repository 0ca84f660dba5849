"""A streamed answer as one record."""

from collections.abc import AsyncIterator

from pipelines import errors
from pipelines.domain.answer import Answer, ChatEvent, CitationsEvent, DeltaEvent, DoneEvent, ErrorEvent, SourcesEvent
from pipelines.errors import ModelError, ModelUnavailable, RayScribeError

_BY_CODE: dict[str, type[RayScribeError]] = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RayScribeError)
}


async def collect_answer(events: AsyncIterator[ChatEvent]) -> Answer:
    """Return the whole answer. Raises the error that an ``error`` event names, and ModelUnavailable without an end."""
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
                raise _error(event)
            case DoneEvent():
                return _answer(text, sources, citations, event)
    raise ModelUnavailable("the answer ended early")


def _error(event: ErrorEvent) -> RayScribeError:
    unknown = ModelUnavailable if event.retryable else ModelError
    return _BY_CODE.get(event.code, unknown)(event.message)


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
