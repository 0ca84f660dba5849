"""JSON Schemas of templates: checked, shaped for a request and a model, and answered by the emptiest value."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from jsonschema import Draft202012Validator

from pipelines.domain.template import Schema

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


_SCHEMA_MAPS = ("properties", "$defs")
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf")
_Change = Callable[[dict[str, object]], dict[str, object]]


def inline_references(schema: Schema) -> dict[str, object]:
    """Return the schema with every ``#/$defs/…`` reference replaced by what it points at, and no ``$defs``.

    Keywords beside a reference win over the definition's. Raises ValueError for references that point elsewhere,
    at nothing, or at themselves.
    """
    definitions = cast(Mapping[str, object], schema.get("$defs", {}))
    inlined = _inline({key: value for key, value in schema.items() if key != "$defs"}, definitions, ())
    return cast(dict[str, object], inlined)


def for_request(schema: Schema, parameters: Mapping[str, object]) -> dict[str, object]:
    """Return the schema with each ``x-enum-from`` turned into an ``enum`` of the request's values."""

    def fill(node: dict[str, object]) -> dict[str, object]:
        name = node.get("x-enum-from")
        return {**node, "enum": list(cast(Sequence[object], parameters[str(name)]))} if name else node

    return cast(dict[str, object], _rewrite(schema, fill))


def enum_parameters(schema: Schema) -> set[str]:
    """Return the names of the parameters that some field takes its choices from."""
    named: set[str] = set()

    def note(node: dict[str, object]) -> dict[str, object]:
        named.update({str(node["x-enum-from"])} if "x-enum-from" in node else ())
        return node

    _rewrite(schema, note)
    return named


def for_model(schema: Schema) -> dict[str, object]:
    """Return what the model is guided by: no hints (``x-…``), and no fields that are computed afterwards."""

    def strip(node: dict[str, object]) -> dict[str, object]:
        kept = {key: value for key, value in node.items() if not key.startswith(("x-", "$"))}
        if "properties" in kept:
            properties = cast(Mapping[str, Mapping[str, object]], kept["properties"])
            asked = {name: value for name, value in properties.items() if "x-computed" not in value}
            kept["properties"] = asked
            kept["required"] = [name for name in cast(Sequence[str], kept.get("required", ())) if name in asked]
        return kept

    return cast(dict[str, object], _rewrite(schema, strip, before=True))


def _inline(node: object, definitions: Mapping[str, object], path: tuple[str, ...]) -> object:
    if isinstance(node, list):
        return [_inline(item, definitions, path) for item in node]
    if not isinstance(node, Mapping):
        return node
    siblings = {key: _inline(value, definitions, path) for key, value in node.items() if key != "$ref"}
    if "$ref" not in node:
        return siblings
    name = _definition_name(node["$ref"])
    if name in path:
        raise ValueError(f"the definition {name!r} contains itself")
    if name not in definitions:
        raise ValueError(f"there is no definition {name!r}")
    return {**cast(dict[str, object], _inline(definitions[name], definitions, (*path, name))), **siblings}


def _definition_name(reference: object) -> str:
    prefix = "#/$defs/"
    if not isinstance(reference, str) or not reference.startswith(prefix):
        raise ValueError(f"the reference {reference!r} does not point into #/$defs/")
    return reference.removeprefix(prefix)


def _rewrite(node: object, change: _Change, *, before: bool = False) -> object:
    """Apply ``change`` to every schema in the schema; ``before`` its children rather than after."""
    if not isinstance(node, Mapping):
        return node
    current = change(dict(node)) if before else dict(node)
    for key, value in current.items():
        if key in _SCHEMA_MAPS and isinstance(value, Mapping):
            current[key] = {name: _rewrite(child, change, before=before) for name, child in value.items()}
        elif key in _SCHEMA_LISTS and isinstance(value, list):
            current[key] = [_rewrite(child, change, before=before) for child in value]
        elif key == "items":
            current[key] = _rewrite(value, change, before=before)
    return current if before else change(current)


def minimal_value(schema: Schema) -> object:
    """Return null where it is allowed, else the first choice, the shortest text, the emptiest list, the least number.

    Covers the keywords that a template may use (see ``pipelines/language/templates.py``), not all of JSON Schema.
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
