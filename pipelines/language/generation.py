"""One answer of a language model: asked for within its context, read, repaired, and asked for again."""

import asyncio
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn, cast

from jsonschema import Draft202012Validator

from pipelines.domain.answer import Completion, Message, SamplingOptions
from pipelines.domain.model import LanguageModelInfo
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
from pipelines.language.sampling import LIBRARY_DEFAULTS, UNKNOWN_DEFAULTS, ResolvedSampling, resolve_sampling
from pipelines.ports.language import LanguageModel

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
    info: LanguageModelInfo
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
        return self.info.context_tokens or _DEFAULT_CONTEXT_TOKENS

    def resolve(self, answer_tokens: int) -> ResolvedSampling:
        """Resolve the decoding parameters of a task whose answers need up to ``answer_tokens``.

        An answer may fill a third of the context. A limit that request or profile sets goes before the task's own.
        """
        library = LIBRARY_DEFAULTS if self.info.known_defaults else UNKNOWN_DEFAULTS
        config = self.info.generation_config or {}
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
        [used] = await self.model.count_tokens(["\n".join(message.content for message in messages)])
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


THINKING = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*)\n\s*```\s*$", re.DOTALL)
_WHITE_SPACE_LOOP = re.compile(r"\s{64}")
"""Weak models under guided JSON emit white space, which the grammar allows, until they run out of tokens."""
_LOOP = re.compile(r"(.{1,60}?)\1{19}", re.DOTALL)
"""The same up to 60 characters twenty times in a row."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffd\ud800-\udfff]")


def parse_generation(completion: Completion, schema: Schema) -> dict[str, object]:
    """Return the answer. Raises GenerationTruncated (cut off), GenerationInvalid (looping, no JSON, not the schema)."""
    text = completion.text
    if _WHITE_SPACE_LOOP.search(text):
        raise GenerationInvalid("the language model wrote white space instead of an answer")
    if completion.finish_reason == "length":
        raise GenerationTruncated("the language model stopped at its token limit")
    answer = _decoded(_unwrapped(text))
    error = next(iter(Draft202012Validator(schema).iter_errors(answer)), None)
    if error is not None:
        # The validator's own message quotes the answer, which holds what was said.
        raise GenerationInvalid(f"the language model's answer does not fit the schema at {error.json_path[:200]}")
    for value in all_texts(answer):
        _refuse_garbage(value)
    return cast(dict[str, object], answer)


def is_garbage(text: str) -> bool:
    """Tell whether a text repeats itself twenty times over, or holds characters that no text holds."""
    return bool(_CONTROL.search(text) or _LOOP.search(text))


def _unwrapped(text: str) -> str:
    without_thinking = THINKING.sub("", text)
    fenced = _FENCE.match(without_thinking)
    return (fenced.group(1) if fenced else without_thinking).strip()


def _decoded(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise GenerationInvalid("the language model's answer is not JSON") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError("a number is too large")
    return value


def _refuse_garbage(text: str) -> None:
    if is_garbage(text):
        raise GenerationInvalid("the language model repeated itself or wrote unreadable characters")


def all_texts(value: object) -> Iterator[str]:
    """Yield every text inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from all_texts(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from all_texts(item)


_OPENING, _CLOSING = "<think>", "</think>"


class ThinkingSkipper:
    """Reads an answer as it comes and leaves out a leading ``<think>…</think>``, of which nothing is ever shown."""

    def __init__(self) -> None:
        self._held: str | None = ""

    def feed(self, text: str) -> str:
        """Take the next piece; return what can be shown, holding back what may be, or still is, thinking."""
        if self._held is None:
            return text
        self._held += text
        if thinking := THINKING.match(self._held):
            return self._begin(self._held[thinking.end() :])
        written = self._held.lstrip()
        if written.startswith(_OPENING):
            # Of thoughts only so much is kept that their end is seen: searching all of them at every piece adds up.
            self._held = _OPENING + written[len(_OPENING) :][1 - len(_CLOSING) :]
            return ""
        return "" if _OPENING.startswith(written) else self._begin(self._held)

    def finish(self) -> str:
        """Return what was held back: nothing more will come. Thinking that never ended is no answer."""
        held, self._held = self._held or "", None
        return "" if held.startswith(_OPENING) else held

    def _begin(self, answer: str) -> str:
        self._held = None
        return answer


def without_thinking(text: str) -> str:
    """Return a whole answer without its leading thoughts; empty where nothing else was written."""
    skipper = ThinkingSkipper()
    return skipper.feed(text) + skipper.finish()
