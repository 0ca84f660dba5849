"""Computes what a template marks ``x-computed``: arithmetic is not left to a language model.

``{"weighted_score_of": "criteria"}`` is 0 to 100 over the ``score`` of each object in ``criteria``, weighted by its
``x-weight``; ``{"at_least": 70, "of": "score"}`` says whether a number reaches a threshold.
"""

from collections.abc import Mapping
from typing import cast

from pipelines.domain.template import Schema


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
