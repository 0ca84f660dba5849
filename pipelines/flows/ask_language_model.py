"""One transcript's conversation with the language model: how many calls at once, what is retried, when to give up."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from pipelines.domain.answer import Message, SamplingOptions
from pipelines.domain.model import ModelInfo
from pipelines.domain.template import Schema
from pipelines.domain.understanding import UnderstandingOptions
from pipelines.errors import (
    DeadlineExceeded,
    DependencyError,
    GenerationInvalid,
    GenerationTruncated,
    Overloaded,
    RayScribeError,
)
from pipelines.ports import LanguageModel
from pipelines.steps.parse_generation import parse_generation
from pipelines.steps.resolve_sampling import LIBRARY_DEFAULTS, UNKNOWN_DEFAULTS, ResolvedSampling, resolve_sampling

_DEFAULT_CONTEXT_TOKENS = 4096
CONTEXT_MARGIN = 0.95
"""How much of the context is counted on: chat templates add a few tokens of their own."""
_RETRY_TEMPERATURE = 0.4
"""A model that looped at temperature 0 would loop again: the second attempt draws."""
_RETRY_SEED = 1


@dataclass(slots=True, kw_only=True)
class Effort:
    """What one task cost, for ``versions``."""

    calls: int = 0
    retries: int = 0


@dataclass(slots=True, kw_only=True)
class LanguageModelSession:
    """A language model as one transcript uses it. Calls of all its tasks share one bound and one sense of failure."""

    model: LanguageModel
    info: ModelInfo
    options: UnderstandingOptions
    request: SamplingOptions
    _slots: asyncio.Semaphore = field(init=False)
    _failures: int = field(init=False, default=0)
    _gone: RayScribeError | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.options.concurrency)

    @property
    def context_tokens(self) -> int:
        """How many tokens prompt and answer may have together."""
        return cast(int, self.info.details.get("context_tokens") or _DEFAULT_CONTEXT_TOKENS)

    def resolve(self, answer_tokens: int) -> ResolvedSampling:
        """Resolve the decoding parameters of a task whose answers need up to ``answer_tokens``.

        An answer may fill a third of the context. A limit that request or profile sets goes before the task's own.
        """
        config = cast(Mapping[str, object], self.info.details.get("generation_config") or {})
        library = LIBRARY_DEFAULTS if self.info.details.get("known_defaults", True) else UNKNOWN_DEFAULTS
        resolved = resolve_sampling(self.request, self.options.sampling, config, library)
        limit, source = resolved.sampling.max_tokens, resolved.sources["max_tokens"]
        if source not in ("request", "profile"):
            limit, source = answer_tokens, "template"
        limit = max(min(limit or answer_tokens, self.context_tokens // 3), 1)
        return ResolvedSampling(
            sampling=replace(resolved.sampling, max_tokens=limit), sources={**resolved.sources, "max_tokens": source}
        )

    async def ask(
        self, messages: Sequence[Message], schema: Schema, sampling: SamplingOptions, effort: Effort
    ) -> dict[str, object]:
        """Return an answer that fits the schema, asking a second time where that can help.

        A truncated answer is asked for again with twice the room, a senseless one at another temperature, an
        unavailable model once more; a slow one is not. Raises GenerationTruncated, GenerationInvalid, DependencyError,
        Overloaded, InvalidRequest (beyond the context).
        """
        try:
            return await self._attempt(messages, schema, sampling, effort)
        except (GenerationTruncated, GenerationInvalid, DependencyError) as error:
            if isinstance(error, DeadlineExceeded) or error.retry_after_s is not None or error is self._gone:
                raise
            again = await self._changed(messages, sampling, error)
            if again is None:
                raise
        effort.retries += 1
        return await self._attempt(messages, schema, again, effort)

    async def _attempt(
        self, messages: Sequence[Message], schema: Schema, sampling: SamplingOptions, effort: Effort
    ) -> dict[str, object]:
        async with self._slots:
            if self._gone is not None:
                raise self._gone
            effort.calls += 1
            try:
                async with asyncio.timeout(self.options.call_timeout_s):
                    completion = await self.model.generate(messages, sampling=sampling, schema=schema)
            except TimeoutError as error:
                message = f"the language model did not answer within {self.options.call_timeout_s:.0f} s"
                raise self._failed(DeadlineExceeded(message)) from error
            except (DependencyError, Overloaded) as error:
                raise self._failed(error) from error
            self._failures = 0
        return parse_generation(completion, schema)

    def _failed(self, error: RayScribeError) -> RayScribeError:
        """Count a failure for want of a model; after some in a row, the rest of the transcript is not even tried."""
        self._failures += 1
        if self._failures >= self.options.failures_before_giving_up:
            self._gone = error
        return error

    async def _changed(
        self, messages: Sequence[Message], sampling: SamplingOptions, error: RayScribeError
    ) -> SamplingOptions | None:
        """Return how to ask again; None where there is no room for a longer answer."""
        if isinstance(error, GenerationTruncated):
            limit = sampling.max_tokens or 0
            longer = min(2 * limit, await self._room(messages))
            return replace(sampling, max_tokens=longer) if longer > limit else None
        if isinstance(error, GenerationInvalid):
            temperature = max(sampling.temperature or 0.0, _RETRY_TEMPERATURE)
            return replace(sampling, temperature=temperature, seed=(sampling.seed or 0) + _RETRY_SEED)
        return sampling

    async def _room(self, messages: Sequence[Message]) -> int:
        """Return how many tokens the context has left for an answer to these messages."""
        used = await self.model.count_tokens("\n".join(message.content for message in messages))
        return int(CONTEXT_MARGIN * self.context_tokens) - used


async def open_session(
    model: LanguageModel, options: UnderstandingOptions, request: SamplingOptions
) -> LanguageModelSession:
    """Ask the model what it is, and return a session. Raises DependencyError where it does not answer."""
    try:
        async with asyncio.timeout(options.call_timeout_s):
            info = await model.info()
    except TimeoutError as error:
        raise DeadlineExceeded("the language model did not say what it is") from error
    return LanguageModelSession(model=model, info=info, options=options, request=request)
