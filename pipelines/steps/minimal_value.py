"""The smallest value that fits a schema: what stands where nothing was found."""

from collections.abc import Mapping, Sequence
from typing import cast

from pipelines.domain.template import Schema


def minimal_value(schema: Schema) -> object:
    """Return null where it is allowed, else the first choice, the shortest text, the emptiest list, the least number.

    Covers the keywords that a template may use (see ``pipelines/templates.py``), not all of JSON Schema.
    """
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return cast(Sequence[object], schema["enum"])[0]
    if "anyOf" in schema:
        return minimal_value(_emptiest(cast(Sequence[Schema], schema["anyOf"])))
    kinds = allowed_types(schema)
    return _EMPTY["null"](schema) if "null" in kinds else _EMPTY[kinds[0]](schema)


def allowed_types(schema: Schema) -> tuple[str, ...]:
    """Return the JSON types that a schema allows; an object where it does not say."""
    declared = schema.get("type", "object")
    return (declared,) if isinstance(declared, str) else tuple(cast(Sequence[str], declared))


def _emptiest(choices: Sequence[Schema]) -> Schema:
    return next((choice for choice in choices if "null" in allowed_types(choice)), choices[0])


def _string(schema: Schema) -> str:
    return "…" * cast(int, schema.get("minLength", 0))


def _list(schema: Schema) -> list[object]:
    item = cast(Schema, schema.get("items", {"type": "null"}))
    return [minimal_value(item) for _ in range(cast(int, schema.get("minItems", 0)))]


def _object(schema: Schema) -> dict[str, object]:
    properties = cast(Mapping[str, Schema], schema.get("properties", {}))
    required = cast(Sequence[str], schema.get("required", ()))
    return {name: minimal_value(properties[name]) for name in required}


_EMPTY = {
    "null": lambda schema: None,
    "boolean": lambda schema: False,
    "integer": lambda schema: schema.get("minimum", 0),
    "number": lambda schema: schema.get("minimum", 0.0),
    "string": _string,
    "array": _list,
    "object": _object,
}
