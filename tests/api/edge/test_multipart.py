import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import CallerError, InvalidRequest, RayScribeError, TooLarge, UnsupportedMedia
from serve_app.api.edge.forms import MAX_FIELD_BYTES, MAX_PARTS, Form, read_form
from serve_app.api.edge.multipart import PART_END, PartEvent, PartHead, read_parts

CONTENT_TYPE = "multipart/form-data; boundary=xyz"


def part(name: str, content: bytes, filename: str | None = None, extra: str = "") -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    return b"--xyz\r\n" + (disposition + "\r\n" + extra).encode() + b"\r\n" + content + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--xyz--\r\n"


async def in_pieces(data: bytes, size: int) -> AsyncGenerator[bytes, None]:
    for position in range(0, len(data), size):
        yield data[position : position + size]


async def parsed(data: bytes, size: int = 7, content_type: str = CONTENT_TYPE) -> list[PartEvent]:
    return [event async for event in read_parts(in_pieces(data, size), content_type)]


def accept_all(name: str, before: int) -> None:
    return


async def keep(head: PartHead, chunks: AsyncIterator[bytes]) -> tuple[PartHead, bytes]:
    return head, b"".join([chunk async for chunk in chunks])


async def form_of(data: bytes, size: int = 11) -> Form[tuple[PartHead, bytes]]:
    return await read_form(read_parts(in_pieces(data, size), CONTENT_TYPE), check_field=accept_all, accept_file=keep)


@given(content=st.binary(max_size=300), size=st.integers(1, 40))
async def test_a_file_arrives_whole_however_it_is_cut(content: bytes, size: int) -> None:
    events = await parsed(body(part("file", content, "a.wav")), size)

    assert events[0] == PartHead(name="file", filename="a.wav", content_type="")
    assert b"".join(event for event in events if isinstance(event, bytes)) == content
    assert events[-1] == PART_END


@given(data=st.binary(max_size=200), size=st.integers(1, 50))
async def test_any_bytes_at_all_are_parsed_or_refused(data: bytes, size: int) -> None:
    try:
        await parsed(data, size)
        await parsed(b"--xyz\r\n" + data, size)
    except CallerError:
        pass


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'b' * 5000}"],
)
async def test_a_content_type_without_a_usable_boundary_is_malformed(content_type: str) -> None:
    with pytest.raises(CallerError):
        await parsed(body(part("file", b"x", "a.wav")), content_type=content_type)


async def test_another_content_type_is_unsupported() -> None:
    with pytest.raises(UnsupportedMedia):
        await parsed(b"", content_type="text/plain; boundary=xyz")


@pytest.mark.parametrize("kept", [0, 5, 40, 60, 75])
async def test_a_body_that_ends_early_is_malformed(kept: int) -> None:
    with pytest.raises(CallerError):
        await parsed(body(part("file", b"content", "a.wav"))[:kept])


@pytest.mark.parametrize(
    "data",
    [
        b"--xyz\r\n\r\ncontent\r\n--xyz--\r\n",
        b"--xyz\r\nContent-Disposition: form-data\r\n\r\ncontent\r\n--xyz--\r\n",
        b"--xyz\r\nContent-Disposition: attachment; name=file\r\n\r\ncontent\r\n--xyz--\r\n",
        body(part("file", b"Y29udGVudA==", "a.wav", "Content-Transfer-Encoding: base64\r\n")),
        body(part("file", b"content", "a.wav", "X-Long: " + "x" * 10_000 + "\r\n")),
        body(part("file", b"content", "a.wav", "X-Many: x\r\n" * 50)),
        b"--abc\r\n\r\n--abc--\r\n",
    ],
)
async def test_a_part_that_is_not_as_the_rfc_says_is_malformed(data: bytes) -> None:
    with pytest.raises(CallerError):
        await parsed(data)


async def test_names_are_utf8_and_an_extended_file_name_beside_a_plain_one_is_ignored() -> None:
    head = 'Content-Disposition: form-data; name="größe"; filename="vorträge.wav"; filename*=UTF-8\'\'evil.exe'

    events = await parsed(body(b"--xyz\r\n" + head.encode() + b"\r\n\r\nx\r\n"))

    assert events[0] == PartHead(name="größe", filename="vorträge.wav", content_type="")


@pytest.mark.parametrize(
    ("parameter", "filename"),
    [
        ("filename*=UTF-8''vortr%C3%A4ge%20und%20mehr.wav", "vorträge und mehr.wav"),
        ("filename*=iso-8859-1'de'vortr%E4ge.wav", "vorträge.wav"),
        ('filename*="plain.wav"', "plain.wav"),
        ("filename*=utf-8''a%FF.wav", "a\ufffd.wav"),
    ],
)
async def test_an_extended_file_name_alone_makes_a_file(parameter: str, filename: str) -> None:
    head = f'Content-Disposition: form-data; name="file"; {parameter}'

    form = await form_of(body(b"--xyz\r\n" + head.encode() + b"\r\n\r\nsound\r\n"))

    assert form.file == (PartHead(name="file", filename=filename, content_type=""), b"sound")


@given(value=st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40))
async def test_any_extended_file_name_is_read_or_refused(value: str) -> None:
    head = b'Content-Disposition: form-data; name="file"; filename*=' + value.encode("latin-1")
    with contextlib.suppress(CallerError):
        await form_of(body(b"--xyz\r\n" + head + b"\r\n\r\nsound\r\n"))


async def test_fields_come_before_and_after_the_file_and_repeat() -> None:
    form = await form_of(body(part("a", b"1"), part("b", b"2"), part("file", b"sound", "x.wav"), part("a", b"drei")))

    assert form.values == {"a": ["1", "drei"], "b": ["2"]}
    assert form.file[1] == b"sound"


@pytest.mark.parametrize(
    ("parts", "error", "param"),
    [
        ([part("a", b"1")], InvalidRequest, "file"),
        ([part("file", b"1", "a"), part("file", b"1", "b")], InvalidRequest, "file"),
        ([part("file", b"not a file")], InvalidRequest, "file"),
        ([part("a", b"1", "a.txt")], InvalidRequest, "a"),
        ([part("a", b"\xff\xfe")], InvalidRequest, "a"),
        ([part("a", b"x" * (MAX_FIELD_BYTES + 1))], TooLarge, "a"),
        ([part("a", b"")] * (MAX_PARTS + 1), TooLarge, None),
    ],
)
async def test_forms_that_are_refused(parts: list[bytes], error: type[RayScribeError], param: str | None) -> None:
    with pytest.raises(error) as refused:
        await form_of(body(*parts), 1_000)

    assert refused.value.param == param


async def test_a_sink_that_fails_in_the_middle_closes_the_body() -> None:
    closed = False

    async def source() -> AsyncGenerator[bytes, None]:
        nonlocal closed
        try:
            async for piece in in_pieces(body(part("file", b"x" * 1_000, "a.wav")), 50):
                yield piece
        finally:
            closed = True

    async def fail(head: PartHead, chunks: AsyncIterator[bytes]) -> None:
        await anext(chunks)
        raise TooLarge("enough")

    with pytest.raises(TooLarge):
        await read_form(read_parts(source(), CONTENT_TYPE), check_field=accept_all, accept_file=fail)
    assert closed
