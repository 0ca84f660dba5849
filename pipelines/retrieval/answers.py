"""A question answered from passages, with citations that are checked as they are written."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

import numpy as np

from pipelines import errors
from pipelines.domain.answer import (
    Answer,
    ChatEvent,
    ChatRequest,
    Citation,
    CitationsEvent,
    CompletionChunk,
    DeltaEvent,
    DoneEvent,
    ErrorEvent,
    FinishReason,
    Source,
    SourcesEvent,
    TokenUsage,
)
from pipelines.domain.model import Degradation, LanguageModelInfo, describe_model
from pipelines.errors import DependencyError, ModelError, ModelUnavailable, Overloaded, RayScribeError
from pipelines.ports.language import LanguageModel
from pipelines.ports.models import Embedder
from pipelines.retrieval.citations import CitationMarker
from pipelines.retrieval.ports import ChatOptions, ChatPorts
from pipelines.retrieval.prompts import NO_EVIDENCE, PreparedPrompt, prepare_prompt, stream_answer
from pipelines.retrieval.search import check_search
from pipelines.retrieval.sources import (
    Retrieval,
    candidate_sentences,
    check_messages,
    pick_answer,
    retrieve_sources,
    search_request,
)


async def answer_question(
    ports: ChatPorts, tenant: str, request: ChatRequest, options: ChatOptions | None = None
) -> AsyncGenerator[ChatEvent, None]:
    """Yield ``sources``, ``delta`` …, ``citations``, ``done``; or ``error`` last, once anything has been yielded.

    ``options``: the deployment's, unless others are given.
    Before the first event it raises instead: InvalidRequest, NotFound, EmbedderMismatch, PassageStoreUnavailable,
    ModelUnavailable. Closing the generator stops retrieval and generation.
    """
    check_messages(request)
    answering = _Answering(ports, request, options or ports.options)
    await answering.retrieve(tenant)
    await answering.prepare()
    yield answering.sources()
    try:
        async with aclosing(answering.events()) as events:
            async for event in events:
                yield event
    except RayScribeError as error:
        yield ErrorEvent(code=error.code, message=error.message, retryable=error.retryable)


def check_question(ports: ChatPorts, request: ChatRequest) -> None:
    """Raise InvalidRequest, naming the field, for what can be neither answered nor looked up."""
    check_messages(request)
    check_search(search_request(ports, request))


class _Answering:
    """One answer on its way."""

    def __init__(self, ports: ChatPorts, request: ChatRequest, options: ChatOptions) -> None:
        self._ports = ports
        self._request = request
        self._options = options
        self._found: Retrieval
        self._prepared: PreparedPrompt | None = None
        self._announced: tuple[Source, ...] = ()
        """What every answer rests on, whoever writes it."""
        self._usage: TokenUsage | None = None
        """Of the answer, also of one that could not be used."""
        self._degraded: list[Degradation] = []

    async def retrieve(self, tenant: str) -> None:
        self._found = await retrieve_sources(self._ports, tenant, self._request, self._options)
        self._announced = self._found.sources
        self._degraded += self._found.degraded

    async def prepare(self) -> None:
        """Build the prompt, unless there is nothing to tell or nobody to tell it to."""
        model, found = self._ports.language_model, self._found
        if not found.sources:
            return
        if model is None:
            self._without_model("this deployment has no language model")
            return
        try:
            self._prepared = await prepare_prompt(model, found.question, found.sources, self._request, self._options)
        except (DependencyError, ModelError, Overloaded) as error:
            self._without_model(error.message)
        else:
            self._announced = self._prepared.sources

    def sources(self) -> SourcesEvent:
        return SourcesEvent(sources=self._announced, question=self._found.question)

    async def events(self) -> AsyncGenerator[ChatEvent, None]:
        """Yield all that comes after the sources."""
        if not self._found.sources:
            yield DeltaEvent(text=NO_EVIDENCE)
            yield CitationsEvent(citations=())
            yield self._done("stop", grounded=False)
            return
        model, prepared = self._ports.language_model, self._prepared
        if model is not None and prepared is not None:
            async with aclosing(self._generated(model, prepared)) as events:
                async for event in events:
                    yield event
        if self._prepared is None:
            async for event in self._extracted():
                yield event

    async def _generated(self, model: LanguageModel, prepared: PreparedPrompt) -> AsyncGenerator[ChatEvent, None]:
        """Yield what the model writes; nothing, and forget the prompt, if it fails or ends before the first word."""
        marker, written = CitationMarker(prepared.sources), False
        last = CompletionChunk(text="", finish_reason="error")
        chunks = stream_answer(model, prepared, first_token_timeout_s=self._options.first_token_timeout_s)
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    last = chunk
                    text = marker.feed(chunk.text)
                    if text := text if written else text.lstrip():
                        written = True
                        yield DeltaEvent(text=text)
            self._usage = last.usage
            rest = marker.finish()
            if not written and not rest.strip():
                raise ModelError("the language model wrote no answer")
        except RayScribeError as error:
            if written:
                raise
            self._prepared = None
            self._without_model(error.message)
            return
        if rest:
            yield DeltaEvent(text=rest if written else rest.lstrip())
        yield CitationsEvent(citations=tuple(marker.citations), removed=marker.removed)
        yield self._done(last.finish_reason or "stop", grounded=bool(marker.citations), model=prepared.model)

    async def _extracted(self) -> AsyncGenerator[ChatEvent, None]:
        text, citations = await answer_extractively(
            self._ports.embedder, self._found.question, self._announced, self._options
        )
        yield DeltaEvent(text=text)
        yield CitationsEvent(citations=citations)
        yield self._done("stop", grounded=bool(citations))

    def _without_model(self, reason: str) -> None:
        self._degraded.append(Degradation(stage="answer", wanted="language model", used="extractive", reason=reason))

    def _done(
        self, finish_reason: FinishReason, *, grounded: bool, model: LanguageModelInfo | None = None
    ) -> DoneEvent:
        return DoneEvent(
            finish_reason=finish_reason,
            usage=_total(
                [
                    *([self._found.rewriting.usage] if self._found.rewriting else []),
                    *([self._usage] if model or self._usage else []),
                ]
            ),
            grounded=grounded,
            versions=self._found.versions | ({"llm": describe_model(model)} if model else {}),
            degraded=tuple(self._degraded),
        )


def _total(parts: Sequence[TokenUsage | None]) -> TokenUsage | None:
    """Return the tokens of all model calls; None where there was none, or one of them is not known."""
    known = [part for part in parts if part]
    if not known or len(known) < len(parts):
        return None
    return TokenUsage(
        prompt_tokens=sum(part.prompt_tokens for part in known),
        completion_tokens=sum(part.completion_tokens for part in known),
    )


async def answer_extractively(
    embedder: Embedder, question: str, sources: Sequence[Source], options: ChatOptions
) -> tuple[str, tuple[Citation, ...]]:
    """Return the sentences nearest to the question, and their citations. Raises what the embedder raises."""
    candidates = candidate_sentences(sources, limit=options.extractive_candidates)
    asked = await embedder.embed_query(question)
    vectors = await embedder.embed_passages([candidate.text for candidate in candidates])
    similarities = [float(np.dot(asked.dense, vector.dense)) for vector in vectors]
    return pick_answer(
        question,
        candidates,
        similarities,
        sentences=options.extractive_sentences,
        within=options.extractive_within,
    )


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
