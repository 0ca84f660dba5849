"""A multipart/form-data body as a stream of typed events (RFC 7578), in memory bounded by one received chunk."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pipelines.errors import CallerError, UnsupportedMedia

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MAX_HEADERS = 8
_MAX_HEADER_BYTES = 4_096
_EXTENDED_FILENAME = re.compile(
    r""";\s*filename\*\s*=\s*"?(?:(?P<charset>utf-8|iso-8859-1)'[^'";]*')?(?P<name>[^";]*)""", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartHead:
    """A part begins. ``filename`` is None for an ordinary field."""

    name: str
    filename: str | None
    content_type: str


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part that began last has ended."""


PART_END: Final = PartEnd()
PartEvent = PartHead | bytes | PartEnd


async def read_parts(body: AsyncGenerator[bytes, None], content_type: str) -> AsyncGenerator[PartEvent, None]:
    """Yield each part's head, its bytes as they arrive, and its end; then return.

    ``body`` is closed in any case. Raises CallerError where it is not what the content type says or ends early, and
    whatever it raises itself.
    """
    collector = _Collector()
    parser = _parser(content_type, collector)
    async with aclosing(body):
        async for chunk in body:
            try:
                parser.write(chunk)
            except FormParserError:
                raise CallerError("the multipart body is malformed") from None
            for event in collector.take():
                yield event
    if not collector.complete:
        raise CallerError("the multipart body ends before its closing boundary")


def _parser(content_type: str, collector: "_Collector") -> MultipartParser:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise UnsupportedMedia("the body must be multipart/form-data")
    boundary = options.get(b"boundary")
    if not boundary:
        raise CallerError("the content type names no boundary")
    try:
        return MultipartParser(
            boundary, collector.callbacks(), max_header_count=_MAX_HEADERS, max_header_size=_MAX_HEADER_BYTES
        )
    except FormParserError:
        raise CallerError("the boundary is too long") from None


class _Collector:
    """Gathers what the parser calls back with."""

    def __init__(self) -> None:
        self.complete = False
        self._events: list[PartEvent] = []
        self._headers: dict[bytes, bytes] = {}
        self._field = b""
        self._value = b""

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._extend_field,
            "on_header_value": self._extend_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def take(self) -> list[PartEvent]:
        events, self._events = self._events, []
        return events

    def _begin_part(self) -> None:
        self._headers = {}

    def _extend_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _extend_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _end_headers(self) -> None:
        self._events.append(_head(self._headers))

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _end_part(self) -> None:
        self._events.append(PART_END)

    def _end(self) -> None:
        self.complete = True


def _head(headers: dict[bytes, bytes]) -> PartHead:
    disposition = headers.get(b"content-disposition", b"").decode("latin-1")
    kind, options = parse_options_header(disposition)
    if kind != b"form-data" or b"name" not in options:
        raise CallerError("a part of the body has no name")
    if headers.get(b"content-transfer-encoding", b"binary").lower() not in (b"binary", b"7bit", b"8bit"):
        raise CallerError("a part of the body has a transfer encoding, which RFC 7578 forbids")
    filename = options.get(b"filename")
    return PartHead(
        name=options[b"name"].decode("utf-8", "replace"),
        filename=_extended_filename(disposition) if filename is None else filename.decode("utf-8", "replace"),
        content_type=headers.get(b"content-type", b"").decode("latin-1"),
    )


def _extended_filename(disposition: str) -> str | None:
    """Return the name of ``filename*`` (RFC 8187), which RFC 7578 forbids and some clients send alone all the same."""
    found = _EXTENDED_FILENAME.search(disposition)
    return unquote(found["name"], found["charset"] or "utf-8", "replace").strip() if found else None
