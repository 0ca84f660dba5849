"""Answers of parts joined into one, held against what was said, and scored."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import cast

from rapidfuzz import fuzz, process

from pipelines.domain.template import Schema
from pipelines.domain.transcript import Segment
from pipelines.domain.writing import ends_sentence, join_texts
from pipelines.language.schemas import allowed_types, minimal_value
from pipelines.language.text import sentence_bounds

_SAME = 85.0
"""rapidfuzz's partial ratio from which a quote counts as said: speech models and language models spell differently."""
_SHORT_CHARACTERS = 12
"""Shorter quotes must be there letter for letter: something like them is found anywhere."""
_DROP = object()
_WORD = re.compile(r"[^\W_]+")


class _Said:
    """What was said, in a form in which quotes can be looked up."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments
        self.speakers = {segment.speaker for segment in segments}
        self.earliest_s = min((segment.start_s for segment in segments), default=0.0)
        self.latest_s = max((segment.end_s for segment in segments), default=0.0)
        self._texts = [_plain(segment.text) for segment in segments]
        self._pairs = [f"{text} {following}" for text, following in pairwise([*self._texts, ""])]

    def find(self, quote: str) -> Segment | None:
        """Return the segment in which the quote was said, or the first of two that it runs over."""
        wanted = _plain(quote)
        if not wanted:
            return None
        place = next((place for place, text in enumerate(self._texts) if wanted in text), None)
        if place is None and len(wanted) >= _SHORT_CHARACTERS:
            place = _most_alike(wanted, self._texts)
            place = _most_alike(wanted, self._pairs) if place is None else place
        return None if place is None else self.segments[place]


def _most_alike(wanted: str, texts: Sequence[str]) -> int | None:
    """Return the place of the text that holds something like ``wanted``; texts that are much shorter cannot."""
    long_enough = {place: text for place, text in enumerate(texts) if len(text) >= 0.8 * len(wanted)}
    found = process.extractOne(wanted, long_enough, scorer=fuzz.partial_ratio, score_cutoff=_SAME)
    return int(found[2]) if found else None


def ground_items(schema: Schema, answer: Mapping[str, object], segments: Sequence[Segment]) -> dict[str, object]:
    """Return the answer without what nobody said or it says twice, and with times that lie inside these segments.

    Where there are no times (a text that was typed), ``start_s`` and ``end_s`` become null. Still fits the schema.
    """
    return cast(dict[str, object], _ground(schema, answer, _Said(segments)))


def find_quote(quote: str, segments: Sequence[Segment]) -> Segment | None:
    """Return the segment in which the quote was said, or the first of two that it runs over; None: nobody said it."""
    return _Said(segments).find(quote)


def _ground(schema: Schema, value: object, said: _Said) -> object:
    if isinstance(value, list):
        return _ground_list(schema, value, said)
    if isinstance(value, Mapping) and "properties" in schema:
        return _ground_object(schema, value, said)
    if isinstance(value, str) and "enum" not in schema:
        once = say_once(value)
        return once if len(once) >= cast(int, schema.get("minLength", 0)) else value
    return value


def say_once(text: str) -> str:
    """Return a text without sentences that stand in it before: a small model in a loop repeats one until it is cut off.

    What the cut left of such a sentence at the end goes too. A text that says nothing twice comes back as it is.
    """
    sentences = [text[start:end] for start, end in sentence_bounds(text)]
    kept: dict[str, str] = {}
    for sentence in sentences:
        words = _plain(sentence) or sentence
        cut = not ends_sentence(sentence)
        if not (cut and any(earlier.startswith(words) for earlier in kept)):
            kept.setdefault(words, sentence)
    return join_texts(kept.values()) if len(kept) < len(sentences) else text


def _ground_list(schema: Schema, items: Sequence[object], said: _Said) -> object:
    item_schema = cast(Schema, schema["items"])
    kept = [item for item in (_ground(item_schema, item, said) for item in items) if item is not _DROP]
    missing = cast(int, schema.get("minItems", 0)) - len(kept)
    return kept + [minimal_value(item_schema) for _ in range(missing)]


def _ground_object(schema: Schema, value: Mapping[str, object], said: _Said) -> object:
    properties = cast(Mapping[str, Schema], schema["properties"])
    grounded = {name: _ground(properties[name], child, said) for name, child in value.items()}
    source: Segment | None = None
    if "x-ground" in schema:
        source = said.find(str(grounded[str(schema["x-ground"])]))
        if source is None:
            return _DROP
    return grounded | _fitting(_place(grounded, source, said), properties)


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))


def _place(value: Mapping[str, object], source: Segment | None, said: _Said) -> dict[str, object]:
    """Return the times and speaker that the object should carry, for those of the three that it has."""
    place: dict[str, object] = {}
    if "start_s" in value and "end_s" in value:
        place["start_s"], place["end_s"] = _times(value["start_s"], value["end_s"], source, said)
    if "speaker" in value:
        place["speaker"] = source.speaker if source else value["speaker"] if value["speaker"] in said.speakers else None
    return place


def _times(start: object, end: object, source: Segment | None, said: _Said) -> tuple[float | None, float | None]:
    if said.latest_s <= said.earliest_s:
        return None, None
    if source is not None:
        return source.start_s, source.end_s
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        return None, None
    first, last = sorted(min(max(time_s, said.earliest_s), said.latest_s) for time_s in (start, end))
    return first, last


def _fitting(place: Mapping[str, object], properties: Mapping[str, Schema]) -> dict[str, object]:
    """Replace null by the smallest value where a template does not allow it."""
    return {
        name: minimal_value(properties[name])
        if value is None and "null" not in allowed_types(properties[name])
        else value
        for name, value in place.items()
    }


_SAME_ANSWER = 92.0
"""rapidfuzz's ratio from which two entries of a list say the same."""

PartAnswer = Mapping[str, object]


def merge_answers(schema: Schema, answers: Sequence[PartAnswer]) -> dict[str, object]:
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
    answers = cast(Sequence[PartAnswer], values)
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
    joined = join_texts(texts)
    if len(joined) <= longest:
        return joined
    share = max(longest // len(texts) - 1, 1)
    return join_texts(_shortened(text, share) for text in texts if text)[:longest].rstrip()


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
    return cast(PartAnswer, item)["start_s"] if timed else json.dumps(item, sort_keys=True)


def _says_the_same(item: object, other: object) -> bool:
    if not isinstance(item, Mapping) or not isinstance(other, Mapping):
        return item == other
    texts = [name for name, value in item.items() if isinstance(value, str) and name != "speaker"]
    return all(fuzz.ratio(str(item[name]), str(other.get(name))) >= _SAME_ANSWER for name in texts)


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


def complete_computed(schema: Schema, answer: Mapping[str, object]) -> dict[str, object]:
    """Return the answer with its computed fields, in the order of the schema. Raises KeyError for a wrong reference."""
    properties = cast(Mapping[str, Schema], schema["properties"])
    complete = dict(answer)
    for name, child in properties.items():
        if "x-computed" in child:
            complete[name] = _computed(cast(Mapping[str, object], child["x-computed"]), properties, complete)
    return {name: complete[name] for name in properties if name in complete}


def _computed(rule: Mapping[str, object], properties: Mapping[str, Schema], answer: Mapping[str, object]) -> object:
    if "weighted_score_of" in rule:
        name = str(rule["weighted_score_of"])
        return weighted_score(properties[name], cast(Mapping[str, Mapping[str, float]], answer[name]))
    return cast(float, answer[str(rule["of"])]) >= cast(float, rule["at_least"])


def weighted_score(schema: Schema, criteria: Mapping[str, Mapping[str, float]]) -> float:
    """Return 0–100: each criterion's score between its minimum and maximum, weighted by ``x-weight`` (default 1)."""
    reached, possible = 0.0, 0.0
    for name, child in cast(Mapping[str, Schema], schema["properties"]).items():
        bounds = cast(Mapping[str, Mapping[str, float]], child["properties"])["score"]
        weight = cast(float, child.get("x-weight", 1))
        share = (criteria[name]["score"] - bounds["minimum"]) / (bounds["maximum"] - bounds["minimum"])
        reached, possible = reached + weight * share, possible + weight
    return round(100 * reached / possible, 1)
