"""Turns what a language model wrote into an answer that fits the schema, or into an error that says what went wrong."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import NoReturn, cast

from jsonschema import Draft202012Validator

from pipelines.domain.answer import Completion
from pipelines.domain.template import Schema
from pipelines.errors import GenerationInvalid, GenerationTruncated

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
