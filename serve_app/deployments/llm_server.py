"""Ray's LLM server with plain values at its door. Imports vLLM: only the language model's own replica loads this file.

Callers need neither vLLM nor its request classes: bodies are dicts of the chat format, answers are dicts and lines.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from ray.llm._internal.serve.core.server.llm_server import LLMServer
from ray.serve.llm.openai_api_models import ChatCompletionRequest

from pipelines.domain.model import LanguageModelInfo
from pipelines.errors import ModelError, ModelUnavailable
from pipelines.language.engines.openai_wire import EventLines, refusal
from pipelines.language.engines.vllm import TokenCounter, describe_model, load_tokenizer


class PlainLLMServer(LLMServer):
    """An LLMServer whose verbs take and give what crosses a handle without importing anything."""

    _tokenizer: TokenCounter | None = None

    async def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request that is not streamed. Raises what ``refusal`` makes of an error."""
        async for response in await self.chat(_request(body)):
            _refuse(response)
            answer: dict[str, Any] = cast(Any, response).model_dump(mode="json")
            return answer
        raise ModelUnavailable("the language model gave no answer")

    async def answer_lines(self, body: Mapping[str, Any]) -> AsyncGenerator[list[str], None]:
        """Yield the lines of a streamed answer, several at once where they came at once.

        Closing it, or the loss of the caller, aborts the generation in the engine.
        """
        responses = await self.chat(_request(body))
        lines = EventLines()
        try:
            async for batch in responses:
                items = batch if isinstance(batch, list) else [batch]
                for item in items:
                    _refuse(item)
                yield [line for item in items for line in lines.feed(str(item).encode()) if line]
            if rest := [line for line in lines.rest() if line]:
                yield rest
        finally:
            await responses.aclose()

    async def token_counts(self, texts: Sequence[str]) -> tuple[int, ...]:
        """Count the tokens of each text with the model's own tokenizer, without special tokens."""
        if self._tokenizer is None:
            self._tokenizer = await asyncio.to_thread(load_tokenizer, await self._folder())
        return await asyncio.to_thread(tuple, map(self._tokenizer, texts))

    async def describe(self) -> LanguageModelInfo:
        """Say what is loaded."""
        config: Any = await self.llm_config()
        folder = await self._folder()
        device = "cpu" if getattr(config.accelerator_config, "kind", None) == "cpu" else "cuda"
        return describe_model(folder, config.model_id, config.engine_kwargs, device=device)

    async def _folder(self) -> Path:
        config: Any = await self.llm_config()
        return Path(config.model_loading_config.model_source)


def _request(body: Mapping[str, Any]) -> ChatCompletionRequest:
    """Return the engine's own record. Raises ModelError for what it does not take."""
    try:
        return ChatCompletionRequest(**body)
    except ValidationError as error:
        raise ModelError("the language model does not take this request") from error


def _refuse(response: Any) -> None:
    """Raise where the engine answered with an error. Its message may quote the prompt, and stays here."""
    error = getattr(response, "error", None)
    if error is not None:
        raise refusal(int(getattr(error, "code", None) or 500), str(getattr(error, "message", "")))
