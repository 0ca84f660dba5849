"""An answer written by a language model from sources, with its citations checked as it comes."""

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
from pipelines.ports import LanguageModel
from pipelines.steps.build_prompt import build_prompt, fit_blocks, source_blocks
from pipelines.steps.resolve_sampling import resolve_sampling

_TURN_TOKENS = 8
"""What a chat template puts around a message, at most, in the models this was tried with."""


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
    """Put as many sources, best first, into the prompt as its context has room for beside the answer.

    Raises InvalidRequest where the conversation leaves no room for a single one, and what the model raises.
    """
    info = await model.info()
    context_tokens = int(str(info.details.get("context_tokens") or options.context_tokens))
    sampling = _sampling(request, options, info, context_tokens)
    history = request.messages[:-1]
    blocks = source_blocks(sources)
    bare = build_prompt(question, (), history)
    counts = await asyncio.gather(
        *(model.count_tokens(message.content) for message in bare), *(model.count_tokens(block) for block in blocks)
    )
    used = sum(counts[: len(bare)]) + _TURN_TOKENS * len(bare) + (sampling.max_tokens or 0)
    fitting = fit_blocks([tokens + 2 for tokens in counts[len(bare) :]], context_tokens - used)
    if fitting == 0:
        raise InvalidRequest("the conversation leaves no room for a passage in the model's context", "messages")
    return PreparedPrompt(
        messages=build_prompt(question, blocks[:fitting], history),
        sources=tuple(sources[:fitting]),
        sampling=sampling,
        model=info,
    )


async def stream_answer(
    model: LanguageModel, prepared: PreparedPrompt, *, first_token_timeout_s: float
) -> AsyncGenerator[CompletionChunk, None]:
    """Yield what the model writes. Closing stops the model. Raises DeadlineExceeded if the first piece is late."""
    async with aclosing(model.stream(prepared.messages, sampling=prepared.sampling)) as chunks:
        try:
            async with asyncio.timeout(first_token_timeout_s):
                first = await anext(chunks, None)
        except TimeoutError as error:
            raise DeadlineExceeded("the language model did not begin to answer in time") from error
        if first is None:
            return
        yield first
        async for chunk in chunks:
            yield chunk


def _sampling(request: ChatRequest, options: ChatOptions, info: ModelInfo, context_tokens: int) -> SamplingOptions:
    config = info.details.get("generation_config")
    resolved = resolve_sampling(request.sampling, options.sampling, config if isinstance(config, dict) else {})
    wanted = request.sampling.max_tokens or options.answer_tokens
    return replace(resolved.sampling, max_tokens=max(1, min(wanted, context_tokens // 3)))
