"""Holds an answer against the transcript: quotes must have been said, times must lie in it, speakers must exist.

An object with ``"x-ground": "quote"`` keeps its place only if its ``quote`` is found in the transcript, and takes its
times and speaker from where it was found, whatever the model wrote.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import cast

from rapidfuzz import fuzz

from pipelines.domain.template import Schema
from pipelines.domain.transcript import Segment
from pipelines.steps.minimal_value import allowed_types, minimal_value

_SAME = 85.0
"""rapidfuzz's partial ratio from which a quote counts as said: speech models and language models spell differently."""
_SHORT_CHARACTERS = 12
"""Shorter quotes must be there letter for letter: something like them is found anywhere."""
_DROP = object()


def ground_items(schema: Schema, answer: Mapping[str, object], segments: Sequence[Segment]) -> dict[str, object]:
    """Return the answer without what nobody said, and with times that lie inside these segments.

    Where there are no times (a text that was typed), ``start_s`` and ``end_s`` become null. Still fits the schema.
    """
    return cast(dict[str, object], _ground(schema, answer, segments))


def _ground(schema: Schema, value: object, segments: Sequence[Segment]) -> object:
    if isinstance(value, list):
        return _ground_list(schema, value, segments)
    if isinstance(value, Mapping) and "properties" in schema:
        return _ground_object(schema, value, segments)
    return value


def _ground_list(schema: Schema, items: Sequence[object], segments: Sequence[Segment]) -> object:
    item_schema = cast(Schema, schema["items"])
    grounded = (_ground(item_schema, item, segments) for item in items)
    kept = [item for item in grounded if item is not _DROP]
    missing = cast(int, schema.get("minItems", 0)) - len(kept)
    return kept + [minimal_value(item_schema) for _ in range(missing)]


def _ground_object(schema: Schema, value: Mapping[str, object], segments: Sequence[Segment]) -> object:
    properties = cast(Mapping[str, Schema], schema["properties"])
    grounded = {name: _ground(properties[name], child, segments) for name, child in value.items()}
    source: Segment | None = None
    if "x-ground" in schema:
        source = find_quote(str(grounded[str(schema["x-ground"])]), segments)
        if source is None:
            return _DROP
    return grounded | _fitting(_place(grounded, source, segments), properties)


def find_quote(quote: str, segments: Sequence[Segment]) -> Segment | None:
    """Return the segment in which the quote was said, or the first of two that it runs over; None: nobody said it."""
    wanted = _plain(quote)
    if not wanted:
        return None
    texts = [_plain(segment.text) for segment in segments]
    for place, text in enumerate(texts):
        if wanted in text:
            return segments[place]
    if len(wanted) < _SHORT_CHARACTERS:
        return None
    pairs = [f"{text} {following}" for text, following in pairwise([*texts, ""])]
    found = _most_alike(wanted, texts)
    if found is None:
        found = _most_alike(wanted, pairs)
    return None if found is None else segments[found]


def _most_alike(wanted: str, texts: Sequence[str]) -> int | None:
    """Return the place of the text that holds something like ``wanted``; texts that are much shorter cannot."""
    long_enough = {place: text for place, text in enumerate(texts) if len(text) >= 0.8 * len(wanted)}
    scores = {place: fuzz.partial_ratio(wanted, text) for place, text in long_enough.items()}
    best = max(scores, key=lambda place: scores[place], default=None)
    return best if best is not None and scores[best] >= _SAME else None


def _plain(text: str) -> str:
    return " ".join("".join(letter if letter.isalnum() else " " for letter in text.casefold()).split())


def _place(value: Mapping[str, object], source: Segment | None, segments: Sequence[Segment]) -> dict[str, object]:
    """Return the times and speaker that the object should carry, for those of the three that it has."""
    place: dict[str, object] = {}
    if "start_s" in value and "end_s" in value:
        place["start_s"], place["end_s"] = _times(value["start_s"], value["end_s"], source, segments)
    if "speaker" in value:
        known = {segment.speaker for segment in segments}
        place["speaker"] = source.speaker if source else value["speaker"] if value["speaker"] in known else None
    return place


def _times(
    start: object, end: object, source: Segment | None, segments: Sequence[Segment]
) -> tuple[float | None, float | None]:
    earliest = min((segment.start_s for segment in segments), default=0.0)
    latest = max((segment.end_s for segment in segments), default=0.0)
    if latest <= earliest:
        return None, None
    if source is not None:
        return source.start_s, source.end_s
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        return None, None
    first, last = sorted((min(max(start, earliest), latest), min(max(end, earliest), latest)))
    return first, last


def _fitting(place: Mapping[str, object], properties: Mapping[str, Schema]) -> dict[str, object]:
    """Replace null by the smallest value where a template does not allow it."""
    return {
        name: minimal_value(properties[name])
        if value is None and "null" not in allowed_types(properties[name])
        else value
        for name, value in place.items()
    }
