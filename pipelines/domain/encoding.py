"""Domain records to JSON and back, by their type annotations (pydantic's TypeAdapter)."""

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

RecordT = TypeVar("RecordT")


@cache
def _adapter(record_type: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, record_type))


def to_json(record: object) -> bytes:
    """Encode a domain record (not one that holds samples) as UTF-8 JSON."""
    return _adapter(cast(Hashable, type(record))).dump_json(record)


def to_plain(record: object) -> dict[str, Any]:
    """Return a domain record as dicts, lists, strings and numbers: what a durable step may return."""
    return cast(dict[str, Any], _adapter(cast(Hashable, type(record))).dump_python(record, mode="json"))


def from_json(record_type: type[RecordT], data: bytes | str) -> RecordT:
    """Decode what ``to_json`` made. Raises pydantic.ValidationError for anything else."""
    return cast(RecordT, _adapter(cast(Hashable, record_type)).validate_json(data))


def from_plain(record_type: type[RecordT], data: object) -> RecordT:
    """Decode what ``to_plain`` made. Raises pydantic.ValidationError for anything else."""
    return cast(RecordT, _adapter(cast(Hashable, record_type)).validate_python(data))
