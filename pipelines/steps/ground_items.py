"""Holds an answer against the transcript: quotes must have been said, times must lie in it, speakers must exist.

An object with ``"x-ground": "quote"`` keeps its place only if its ``quote`` is found in the transcript, and takes its
times and speaker from where it was found, whatever the model wrote.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import cast

from rapidfuzz import fuzz, process

from pipelines.domain.template import Schema
from pipelines.domain.transcript import Segment
from pipelines.steps.minimal_value import allowed_types, minimal_value

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
    """Return the answer without what nobody said, and with times that lie inside these segments.

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
    return value


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
