"""A template's schema in the forms it is needed in: without references, for one request, and for the model."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from pipelines.domain.template import Schema

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
