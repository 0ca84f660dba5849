"""Makes one answer of the answers about the parts of a long text, by the template's schema."""

import json
from collections.abc import Mapping, Sequence
from typing import cast

from rapidfuzz import fuzz

from pipelines.domain.template import Schema
from pipelines.steps.minimal_value import allowed_types

_SAME = 92.0
"""rapidfuzz's ratio from which two entries of a list say the same."""

Answer = Mapping[str, object]


def merge_answers(schema: Schema, answers: Sequence[Answer]) -> dict[str, object]:
    """Return one answer that fits the schema: lists joined, texts joined, numbers averaged, choices by majority.

    Entries that say the same at the same time are kept once. Where a list is longer than the schema allows, entries are
    left out evenly, so that no part of the text loses all of its own. ``answers`` is not empty; each fits the schema.
    """
    return cast(dict[str, object], _merge(schema, list(answers)))


def group_answers(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Return consecutive groups of indices whose sizes fit the budget, each of at least two while there are two.

    Every index is in exactly one group: reducing loses no part.
    """
    groups: list[list[int]] = []
    used = 0
    for index, size in enumerate(sizes):
        if not groups or (len(groups[-1]) >= 2 and used + size > budget):
            groups.append([])
            used = 0
        groups[-1].append(index)
        used += size
    return groups


def _merge(schema: Schema, values: Sequence[object]) -> object:
    present = [value for value in values if value is not None]
    if not present:
        return None
    if "enum" in schema or "const" in schema or "anyOf" in schema:
        return _most_frequent(present)
    merge = _BY_TYPE[next(kind for kind in allowed_types(schema) if kind != "null")]
    return merge(schema, present)


def _merge_objects(schema: Schema, values: Sequence[object]) -> object:
    properties = cast(Mapping[str, Schema], schema["properties"])
    answers = cast(Sequence[Answer], values)
    return {name: _merge(child, [answer[name] for answer in answers]) for name, child in properties.items()}


def _merge_lists(schema: Schema, values: Sequence[object]) -> object:
    distinct: list[object] = []
    near: dict[object, list[object]] = {}
    for item in (item for value in cast(Sequence[Sequence[object]], values) for item in value):
        neighbours = near.setdefault(_neighbourhood(item), [])
        if not any(_says_the_same(item, other) for other in neighbours):
            neighbours.append(item)
            distinct.append(item)
    limit = cast(int, schema["maxItems"])
    if len(distinct) <= limit:
        return distinct
    return [distinct[place * len(distinct) // limit] for place in range(limit)]


def _merge_texts(schema: Schema, values: Sequence[object]) -> object:
    """Join distinct texts; where that is too long, give each its fair share."""
    texts = list(dict.fromkeys(cast(Sequence[str], values)))
    longest = cast(int, schema["maxLength"])
    joined = " ".join(text for text in texts if text)
    if len(joined) <= longest:
        return joined
    share = max(longest // len(texts) - 1, 1)
    return " ".join(_shortened(text, share) for text in texts if text)[:longest].rstrip()


def _merge_numbers(schema: Schema, values: Sequence[object]) -> object:
    mean = sum(cast(Sequence[float], values)) / len(values)
    return round(mean) if "integer" in allowed_types(schema) else mean


def _most_frequent(values: Sequence[object]) -> object:
    """The earliest wins a tie."""
    return max(values, key=lambda value: list(values).count(value))


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1].rsplit(' ', 1)[0]}…"


def _neighbourhood(item: object) -> object:
    """Return what entries that may say the same have in common: their time, or all of it where there is none.

    Comparing each entry with each would take minutes for the thousands of entries of a day's recording.
    """
    timed = isinstance(item, Mapping) and item.get("start_s") is not None
    return cast(Answer, item)["start_s"] if timed else json.dumps(item, sort_keys=True)


def _says_the_same(item: object, other: object) -> bool:
    if not isinstance(item, Mapping) or not isinstance(other, Mapping):
        return item == other
    texts = [name for name, value in item.items() if isinstance(value, str) and name != "speaker"]
    return all(fuzz.ratio(str(item[name]), str(other.get(name))) >= _SAME for name in texts)


def _most_frequent_boolean(schema: Schema, values: Sequence[object]) -> object:
    return _most_frequent(values)


_BY_TYPE = {
    "object": _merge_objects,
    "array": _merge_lists,
    "string": _merge_texts,
    "number": _merge_numbers,
    "integer": _merge_numbers,
    "boolean": _most_frequent_boolean,
}
