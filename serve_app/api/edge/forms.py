"""A form with one file in it: fields are gathered, the file is handed on while it arrives."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipelines.errors import InvalidRequest, TooLarge
from serve_app.api.edge.multipart import PART_END, PartEnd, PartEvent, PartHead

MAX_FIELD_BYTES = 65_536
MAX_PARTS = 200

FileT = TypeVar("FileT")
FieldCheck = Callable[[str, int], None]
"""Called with a field's name, and how often it came before, ahead of its value; raises to refuse it."""
FileSink = Callable[[PartHead, AsyncIterator[bytes]], Awaitable[FileT]]
"""Takes the file's bytes as they arrive; must read them to the end or raise."""


@dataclass(slots=True)
class Form(Generic[FileT]):
    """What a form held; values in the order in which they came."""

    files: list[FileT] = field(default_factory=list)
    """One, or none where none is needed."""
    values: dict[str, list[str]] = field(default_factory=dict)
    filenames: dict[str, str] = field(default_factory=dict)
    """Of fields that came as files."""

    @property
    def file(self) -> FileT:
        """The file."""
        return self.files[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormShape:
    """Which part of a form is its file, and which fields are more than a line of text."""

    file: str = "file"
    needed: bool = True
    """False: the file may be left out."""
    long_fields: Mapping[str, int] = field(default_factory=dict)
    """Fields that may have more bytes than ``MAX_FIELD_BYTES``, and how many."""
    text_files: frozenset[str] = frozenset()
    """Fields that may come as files: text is read from them all the same."""


ONE_FILE = FormShape()


async def read_form(
    parts: AsyncGenerator[PartEvent, None],
    *,
    check_field: FieldCheck,
    accept_file: FileSink[FileT],
    shape: FormShape = ONE_FILE,
) -> Form[FileT]:
    """Read a form; its fields may come before and after its file.

    Raises InvalidRequest (no file, two files, a field that is a file or the other way round), TooLarge (a field, or
    the number of parts), and whatever the checks and ``accept_file`` raise. ``parts`` is closed in any case.
    """
    form: Form[FileT] = Form()
    count = 0
    async with aclosing(parts):
        async for event in parts:
            assert isinstance(event, PartHead)
            count += 1
            if count > MAX_PARTS:
                raise TooLarge(f"the form has more than {MAX_PARTS} parts")
            if event.name == shape.file:
                form.files.append(await _take_file(event, parts, accept_file, before=len(form.files)))
            else:
                await _take_field(event, parts, check_field, form, shape)
    if shape.needed and not form.files:
        raise InvalidRequest(f"the form holds no file called {shape.file}", shape.file)
    return form


async def _take_file(
    head: PartHead, parts: AsyncGenerator[PartEvent, None], accept: FileSink[FileT], *, before: int
) -> FileT:
    if head.filename is None:
        raise InvalidRequest(f"{head.name} must be a file, with a file name", head.name)
    if before:
        raise InvalidRequest(f"{head.name} is given more than once", head.name)
    async with aclosing(_content(parts)) as content:
        return await accept(head, content)


async def _take_field(
    head: PartHead,
    parts: AsyncGenerator[PartEvent, None],
    check: FieldCheck,
    form: Form[FileT],
    shape: FormShape,
) -> None:
    check(head.name, len(form.values.get(head.name, ())))
    if head.filename is not None:
        if head.name not in shape.text_files:
            raise InvalidRequest(f"{head.name} must not be a file", head.name)
        form.filenames[head.name] = head.filename
    limit_bytes = shape.long_fields.get(head.name, MAX_FIELD_BYTES)
    value = bytearray()
    async with aclosing(_content(parts)) as content:
        async for chunk in content:
            value += chunk
            if len(value) > limit_bytes:
                raise TooLarge(f"{head.name} is longer than {limit_bytes:,} bytes", head.name)
    form.values.setdefault(head.name, []).append(_text(value, head.name))


async def _content(parts: AsyncGenerator[PartEvent, None]) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of the part under way, and end where it ends."""
    while not isinstance(event := await anext(parts, PART_END), PartEnd):
        assert isinstance(event, bytes)
        yield event


def _text(value: bytearray, name: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name} is not UTF-8", name) from None
