"""What a prompt takes of a model's context, by the model's own count."""

import asyncio
from collections.abc import Sequence

from pipelines.domain.model import ModelInfo
from pipelines.errors import InvalidRequest
from pipelines.flows.chat_ports import ChatOptions
from pipelines.ports import LanguageModel

TURN_TOKENS = 8
"""What a chat template puts around a message, at most, in the models this was tried with."""


def context_length(info: ModelInfo, options: ChatOptions) -> int:
    """Return how many tokens prompt and answer may have together."""
    return int(str(info.details.get("context_tokens") or options.context_tokens))


async def count_tokens(model: LanguageModel, texts: Sequence[str], *, context_tokens: int) -> list[int]:
    """Count the tokens of each text; one that the model refuses to count is longer than its context.

    Raises what the model raises otherwise.
    """

    async def counted(text: str) -> int:
        try:
            return await model.count_tokens(text)
        except InvalidRequest:
            return context_tokens + 1

    return await asyncio.gather(*(counted(text) for text in texts))
