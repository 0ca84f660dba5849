"""Which bytes a Range header asks for (RFC 9110, section 14)."""

import re
from dataclasses import dataclass

from pipelines.errors import CallerError

_SPEC = re.compile(r"\s*bytes\s*=\s*(\d*)-(\d*)\s*", re.IGNORECASE | re.ASCII)
_OUTSIDE = "the range lies outside the recording"
_BEYOND = 10**18
"""Stands for a position beyond any file's end, however many digits it has: int() refuses to read thousands of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Bytes ``start`` (inclusive) to ``end`` (exclusive) of something that is ``size`` long."""

    start: int
    end: int
    size: int

    @property
    def content_range(self) -> str:
        """The header of a 206."""
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


class Unsatisfiable(CallerError):
    """The range lies wholly outside what there is."""

    code = "range_not_satisfiable"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the range asked for; None where all is to be sent.

    A header that is malformed, in another unit, or names several ranges is ignored, as the RFC allows: the answer is
    then the whole. Raises Unsatisfiable for a range that begins at or after the end, or is empty.
    """
    match = _SPEC.fullmatch(header or "")
    if match is None or match.group(0).count("-") != 1:
        return None
    first, last = match.groups()
    if first:
        return _from_to(_position(first), _position(last) + 1 if last else size, size)
    return _from_to(max(0, size - _position(last)), size, size) if last else None


def _position(digits: str) -> int:
    significant = digits.lstrip("0") or "0"
    return int(significant) if len(significant) <= 18 else _BEYOND


def _from_to(start: int, end: int, size: int) -> ByteRange | None:
    if start >= size:
        raise Unsatisfiable(_OUTSIDE, "Range")
    # A last byte before the first makes the header invalid, not unsatisfiable (RFC 9110, 14.1.1).
    return ByteRange(start=start, end=min(end, size), size=size) if start < end else None
