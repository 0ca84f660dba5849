"""Is every field of a template's schema bounded? A model, or a hostile recording, fills whatever is left open."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from jsonschema import Draft202012Validator

from pipelines.domain.template import Schema
from pipelines.steps.minimal_value import allowed_types

KNOWN_KEYWORDS = {
    *("$schema", "$id", "title", "description", "type", "enum", "const", "anyOf", "default", "examples"),
    *("properties", "required", "additionalProperties", "items", "minItems", "maxItems"),
    *("minLength", "maxLength", "minimum", "maximum"),
}
"""What guided decoding, merging and the extractive engine all understand."""
_BOUNDS = {
    "string": ("maxLength",),
    "array": ("maxItems", "items"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
}

_PHRASES = {"type": "array", "items": {"type": "string"}}
_HINTS = Draft202012Validator(
    {
        "type": "object",
        "required": ["take"],
        "additionalProperties": False,
        "properties": {
            "take": {"type": "string"},
            "count": {"type": "integer", "minimum": 1, "maximum": 1000},
            "cues": {"anyOf": [_PHRASES, {"type": "object", "additionalProperties": _PHRASES}]},
            "kinds": _PHRASES,
            "else": {"type": ["string", "boolean"]},
            "or_else": {"const": "salient"},
            "found": {"type": "string"},
            "missing": {"type": "string"},
        },
    }
)


def schema_problems(schema: Schema) -> list[str]:
    """Return what is wrong with a schema without references, each entry naming the field; empty where all is well."""
    problems = list(_problems(schema, "$"))
    if allowed_types(schema) != ("object",):
        problems.insert(0, "$: the top must be an object")
    return problems


def _problems(schema: Schema, path: str) -> Iterator[str]:
    unknown = sorted(key for key in schema if key not in KNOWN_KEYWORDS and not key.startswith("x-"))
    if unknown:
        yield f"{path}: {', '.join(unknown)} is not supported"
    if "x-extract" in schema:
        yield from (f"{path}: x-extract: {error.message}" for error in _HINTS.iter_errors(schema["x-extract"]))
    if "enum" in schema or "const" in schema or "x-enum-from" in schema:
        return
    if "anyOf" in schema:
        for place, choice in enumerate(cast(Sequence[Schema], schema["anyOf"])):
            yield from _problems(choice, f"{path}.anyOf[{place}]")
        return
    if "type" not in schema:
        yield f"{path}: type is missing"
        return
    for kind in allowed_types(schema):
        yield from (f"{path}: a {kind} needs {bound}" for bound in _BOUNDS.get(kind, ()) if bound not in schema)
    yield from _child_problems(schema, path)


def _child_problems(schema: Schema, path: str) -> Iterator[str]:
    if "items" in schema:
        yield from _problems(cast(Schema, schema["items"]), f"{path}[]")
    if "object" in allowed_types(schema):
        yield from _object_problems(schema, path)


def _object_problems(schema: Schema, path: str) -> Iterator[str]:
    properties = cast(Mapping[str, Schema], schema.get("properties", {}))
    if not properties:
        yield f"{path}: an object needs properties"
    if schema.get("additionalProperties") is not False:
        yield f'{path}: an object needs "additionalProperties": false'
    if set(cast(Sequence[str], schema.get("required", ()))) != set(properties):
        yield f"{path}: every property must be required (use null for what may be absent)"
    if schema.get("x-ground", next(iter(properties), None)) not in properties:
        yield f"{path}: x-ground names no property"
    for name, child in properties.items():
        yield from _problems(child, f"{path}.{name}")
