"""What an answer may rest on: the question made whole, its passages retrieved, and their evidence judged."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipelines.domain.answer import ChatRequest, Citation, Completion, Message, SamplingOptions, Source
from pipelines.domain.model import Degradation, EmbedderInfo, describe_model
from pipelines.domain.passage import Hit, SearchRequest, TextSpan
from pipelines.errors import InvalidRequest, RayScribeError
from pipelines.language.generation import without_thinking
from pipelines.ports.language import LanguageModel
from pipelines.retrieval.citations import cite, split_spans
from pipelines.retrieval.ports import (
    MAX_MESSAGE_CHARACTERS,
    MAX_MESSAGES,
    TURN_TOKENS,
    ChatOptions,
    ChatPorts,
    context_length,
)
from pipelines.retrieval.prompts import build_rewrite_prompt, fit_blocks, recent_messages, rewrite_line
from pipelines.retrieval.search import check_search, search_passages
from pipelines.retrieval.words import content_terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """What was looked up and found."""

    question: str
    """Stands alone."""
    sources: tuple[Source, ...]
    """Only those that have to do with the question, best first."""
    rewriting: Completion | None
    degraded: tuple[Degradation, ...]
    versions: dict[str, object]


async def retrieve_sources(ports: ChatPorts, tenant: str, request: ChatRequest, options: ChatOptions) -> Retrieval:
    """Make the question stand alone, search, rerank, and keep what is evidence.

    Raises InvalidRequest, NotFound, EmbedderMismatch, PassageStoreUnavailable, ModelUnavailable.
    """
    search = search_request(ports, request)
    check_search(search)
    question, rewriting, degraded = await standalone_question(ports.language_model, request, options)
    result = await search_passages(
        ports.embedder, ports.passages, tenant, replace(search, query=question), reranker=ports.reranker
    )
    embedder = await ports.embedder.info()
    similar = options.similar if embedder.similar is None else embedder.similar
    evidence = [hit for hit in result.hits if is_evidence(question, hit, similar=similar, relevant=options.relevant)]
    return Retrieval(
        question=question,
        sources=tuple(Source(n=n, hit=hit) for n, hit in enumerate(evidence, start=1)),
        rewriting=rewriting,
        degraded=degraded + result.degraded,
        versions=await _versions(ports, embedder, reranked=search.rerank and not result.degraded),
    )


def search_request(ports: ChatPorts, request: ChatRequest) -> SearchRequest:
    """Return what is looked up for a question, taken as it stands."""
    rerank = ports.reranker is not None if request.rerank is None else request.rerank
    return SearchRequest(
        query=request.messages[-1].content,
        collections=request.collections,
        mode=request.mode,
        top_k=request.top_k,
        filters=request.filters,
        rerank=rerank,
        neighbours=True,
    )


async def _versions(ports: ChatPorts, embedder: EmbedderInfo, *, reranked: bool) -> dict[str, object]:
    versions: dict[str, object] = {"embedder": describe_model(embedder)}
    if reranked and ports.reranker is not None:
        versions["reranker"] = describe_model(await ports.reranker.info())
    return versions


_REWRITE_TOKENS = 128
REWRITE_SAMPLING = SamplingOptions(temperature=0.0, max_tokens=_REWRITE_TOKENS)
_LONGEST_MADE = 4_000
"""Characters of a question that is put together here: a model that writes more has not written a question."""
_FEW_TERMS = 3


def check_messages(request: ChatRequest) -> None:
    """Raise InvalidRequest for a conversation that asks nothing, or is too long to be read."""
    messages = request.messages
    if not messages or messages[-1].role != "user":
        raise InvalidRequest("the last message must be the user's question", "messages")
    if not messages[-1].content.strip():
        raise InvalidRequest("the question is empty", "messages")
    if len(messages) > MAX_MESSAGES or any(len(message.content) > MAX_MESSAGE_CHARACTERS for message in messages):
        raise InvalidRequest(
            f"at most {MAX_MESSAGES} messages of at most {MAX_MESSAGE_CHARACTERS} characters are read", "messages"
        )


async def standalone_question(
    model: LanguageModel | None, request: ChatRequest, options: ChatOptions
) -> tuple[str, Completion | None, tuple[Degradation, ...]]:
    """Return the question to look up, the model's completion if it wrote it, and what was not done as wanted.

    The first question of a conversation is taken as it is. A model that fails costs the rewriting alone.
    """
    question = request.messages[-1].content.strip()
    if not recent_messages(request.messages[:-1]):
        return question, None, ()
    if model is None:
        return _with_context(request), None, ()
    try:
        async with asyncio.timeout(options.rewrite_timeout_s):
            prompt = await _rewrite_prompt(model, request, options)
            completion = await model.generate(prompt, sampling=REWRITE_SAMPLING)
    except (RayScribeError, TimeoutError) as error:
        return _with_context(request), None, (_not_rewritten(str(error) or "the language model took too long"),)
    rewritten = without_thinking(completion.text).strip().strip("\"'").strip()
    if completion.finish_reason == "stop" and 0 < len(rewritten) <= _LONGEST_MADE:
        return rewritten, completion, ()
    return _with_context(request), completion, (_not_rewritten("the language model wrote no question"),)


async def _rewrite_prompt(model: LanguageModel, request: ChatRequest, options: ChatOptions) -> tuple[Message, ...]:
    """Return the prompt with as much of the conversation's end as fits. Raises InvalidRequest where none of it does."""
    context_tokens = context_length(await model.info(), options)
    question, history = request.messages[-1], recent_messages(request.messages[:-1])
    bare = build_rewrite_prompt([question])
    lines = [rewrite_line(message) for message in history]
    counts = await model.count_tokens([*(message.content for message in bare), *lines])
    room = context_tokens - _REWRITE_TOKENS - sum(counts[: len(bare)]) - TURN_TOKENS * len(bare)
    kept = fit_blocks([tokens + 1 for tokens in reversed(counts[len(bare) :])], room)
    if kept == 0:
        raise InvalidRequest("the conversation leaves no room to rewrite the question", "messages")
    return build_rewrite_prompt([*history[-kept:], question])


def _not_rewritten(reason: str) -> Degradation:
    return Degradation(stage="answer", wanted="language model", used="the words of both questions", reason=reason)


def _with_context(request: ChatRequest) -> str:
    """Put the question before it in front of one that says too little to be looked up."""
    asked = [message.content.strip() for message in request.messages if message.role == "user"]
    if len(asked) < 2 or len(content_terms(asked[-1])) >= _FEW_TERMS:
        return asked[-1]
    return f"{asked[-2]} {asked[-1]}"[-_LONGEST_MADE:]


def is_evidence(question: str, hit: Hit, *, similar: float, relevant: float) -> bool:
    """Say whether an answer may rest on this passage.

    A reranker's judgement, where there is one, decides by ``relevant`` (0–1). Without it the passage is near the
    question by its dense vector (a cosine of at least ``similar``, which depends on the embedder), or half as near
    and shares a content word with it.
    """
    if hit.scores.rerank is not None:
        return hit.scores.rerank >= relevant
    near = hit.scores.dense
    if near is not None and near >= similar:
        return True
    shares = not content_terms(question).isdisjoint(content_terms(hit.passage.text))
    return shares and (near is None or near >= similar / 2)


_SHARED_WORD = 0.25
"""What the share of the question's content words that a sentence has adds to its cosine similarity (0–1)."""

_QUESTION = 0.3
"""What a sentence loses that asks itself: it rarely answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A sentence of a source that may be the answer."""

    source: Source
    span: TextSpan

    @property
    def text(self) -> str:
        """The sentence."""
        return self.source.hit.passage.text[self.span.start : self.span.end]


def candidate_sentences(sources: Sequence[Source], *, limit: int) -> tuple[Candidate, ...]:
    """Return the sentences of the sources, of the best ones first."""
    found = [Candidate(source=source, span=span) for source in sources for span in split_spans(source.hit.passage.text)]
    return tuple(found[:limit])


def pick_answer(
    question: str, candidates: Sequence[Candidate], similarities: Sequence[float], *, sentences: int, within: float
) -> tuple[str, tuple[Citation, ...]]:
    """Return the best sentences, best first, each with its citation.

    ``similarities``: cosine of each sentence with the question. The best sentence is always taken; others only if
    they score at most ``within`` less, and nothing is said twice.
    """
    scores = [_score(question, *pair) for pair in zip(candidates, similarities, strict=True)]
    order = sorted(range(len(candidates)), key=lambda place: -scores[place])
    order = [place for place in order if not _asks_the_same(question, candidates[place].text)] or order
    picked: list[Candidate] = []
    for place in order:
        new = candidates[place].text not in {chosen.text for chosen in picked}
        if new and len(picked) < sentences and scores[place] >= scores[order[0]] - within:
            picked.append(candidates[place])
    citations = tuple(
        cite(chosen.source.hit.passage, chosen.span, collection=chosen.source.hit.collection, n=n)
        for n, chosen in enumerate(picked, start=1)
    )
    return " ".join(f"{citation.quote} [{citation.n}]" for citation in citations), citations


def _asks_the_same(question: str, sentence: str) -> bool:
    """Say whether somebody asked this very question: the nearest sentence to it, and no answer."""
    return _asks(sentence) and content_terms(question) == content_terms(sentence)


def _asks(sentence: str) -> bool:
    return sentence.rstrip("\"'”’»」』)").endswith(("?", "？"))


def _score(question: str, candidate: Candidate, similarity: float) -> float:
    wanted = content_terms(question)
    shared = len(wanted & content_terms(candidate.text)) / len(wanted) if wanted else 0.0
    return similarity + _SHARED_WORD * shared - _QUESTION * _asks(candidate.text)
