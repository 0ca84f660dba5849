"""An answer written by a language model from sources."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from pipelines.domain.answer import (
    ChatRequest,
    CompletionChunk,
    Message,
    SamplingOptions,
    Source,
)
from pipelines.domain.model import ModelInfo
from pipelines.errors import DeadlineExceeded, InvalidRequest
from pipelines.flows.chat_ports import ChatOptions
from pipelines.flows.token_budget import TURN_TOKENS, context_length, count_tokens
from pipelines.ports import LanguageModel
from pipelines.steps.build_prompt import build_prompt, fit_blocks, recent_messages, source_blocks
from pipelines.steps.resolve_sampling import LIBRARY_DEFAULTS, UNKNOWN_DEFAULTS, resolve_sampling
from pipelines.steps.skip_thinking import ThinkingSkipper

_BLOCK_GAP_TOKENS = 2
"""Of the blank line behind a source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPrompt:
    """All that generation needs."""

    messages: tuple[Message, ...]
    sources: tuple[Source, ...]
    """Those that fitted into the context."""
    sampling: SamplingOptions
    model: ModelInfo


async def prepare_prompt(
    model: LanguageModel, question: str, sources: Sequence[Source], request: ChatRequest, options: ChatOptions
) -> PreparedPrompt:
    """Put as many sources, best first, into the prompt as its context has room for beside conversation and answer.

    The oldest messages give way to the first source. Raises InvalidRequest where the question alone leaves no room
    for it, and what the model raises.
    """
    info = await model.info()
    context_tokens = context_length(info, options)
    sampling = _sampling(request, options, info, context_tokens)
    history, blocks = recent_messages(request.messages[:-1]), source_blocks(sources)

    async def counted(texts: Sequence[str], around: int) -> list[int]:
        counts = await count_tokens(model, texts, context_tokens=context_tokens)
        return [tokens + around for tokens in counts]

    bare_tokens, history_tokens, block_tokens = await asyncio.gather(
        counted([message.content for message in build_prompt(question, ())], TURN_TOKENS),
        counted([message.content for message in history], TURN_TOKENS),
        counted(blocks, _BLOCK_GAP_TOKENS),
    )
    room = context_tokens - (sampling.max_tokens or 0) - sum(bare_tokens)
    if block_tokens[0] > room:
        raise InvalidRequest("the question leaves no room for a passage in the model's context", "messages")
    kept = fit_blocks(history_tokens[::-1], room - block_tokens[0])
    dropped = len(history) - kept
    fitting = fit_blocks(block_tokens, room - sum(history_tokens[dropped:]))
    return PreparedPrompt(
        messages=build_prompt(question, blocks[:fitting], history[dropped:]),
        sources=tuple(sources[:fitting]),
        sampling=sampling,
        model=info,
    )


async def stream_answer(
    model: LanguageModel, prepared: PreparedPrompt, *, first_token_timeout_s: float
) -> AsyncGenerator[CompletionChunk, None]:
    """Yield what the model answers, without what it thinks; pieces may be empty. Closing stops the model.

    Raises DeadlineExceeded if the first piece is late, and what the model raises.
    """
    thinking = ThinkingSkipper()
    async with aclosing(model.stream(prepared.messages, sampling=prepared.sampling)) as chunks:
        try:
            async with asyncio.timeout(first_token_timeout_s):
                first = await anext(chunks, None)
        except TimeoutError as error:
            raise DeadlineExceeded("the language model did not begin to answer in time") from error
        if first is None:
            return
        yield _answered(first, thinking)
        async for chunk in chunks:
            yield _answered(chunk, thinking)


def _answered(chunk: CompletionChunk, thinking: ThinkingSkipper) -> CompletionChunk:
    text = thinking.feed(chunk.text)
    return replace(chunk, text=text + thinking.finish() if chunk.finish_reason else text)


def _sampling(request: ChatRequest, options: ChatOptions, info: ModelInfo, context_tokens: int) -> SamplingOptions:
    """Resolve as text skills do, with a temperature of our own instead of the library's."""
    config = info.details.get("generation_config")
    library = LIBRARY_DEFAULTS if info.details.get("known_defaults", True) else UNKNOWN_DEFAULTS
    resolved = resolve_sampling(
        request.sampling,
        options.sampling,
        config if isinstance(config, dict) else {},
        {**library, "temperature": options.temperature},
    )
    asked_for = resolved.sources["max_tokens"] in ("request", "profile")
    wanted = (resolved.sampling.max_tokens if asked_for else None) or options.answer_tokens
    return replace(resolved.sampling, max_tokens=max(1, min(wanted, context_tokens // 3)))
