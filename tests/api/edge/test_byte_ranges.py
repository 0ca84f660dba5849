import pytest

from serve_app.api.edge.byte_ranges import ByteRange, Unsatisfiable, parse_range


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=10-", 10, 100),
        ("bytes=10-1000", 10, 100),
        ("bytes=-10", 90, 100),
        ("bytes=-1000", 0, 100),
        ("BYTES = 3-4", 3, 5),
        (f"bytes=10-{'9' * 19}", 10, 100),
        (f"bytes=10-{'9' * 5000}", 10, 100),
        (f"bytes=-{'9' * 19}", 0, 100),
        (f"bytes=-{'9' * 5000}", 0, 100),
        (f"bytes={'0' * 5000}3-{'0' * 25}4", 3, 5),
        (f"bytes=-{'0' * 25}10", 90, 100),
    ],
)
def test_one_range_is_clipped_to_what_there_is(header: str, start: int, end: int) -> None:
    assert parse_range(header, 100) == ByteRange(start=start, end=end, size=100)


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-3", "items=0-1", "bytes=0-1,5-6", "bytes=٣-٤"],
)
def test_what_is_no_single_range_of_bytes_is_ignored(header: str | None) -> None:
    assert parse_range(header, 100) is None


@pytest.mark.parametrize(
    "header",
    ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=-" + "0" * 25, f"bytes={'9' * 19}-", f"bytes={'9' * 5000}-"],
)
def test_a_range_outside_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 100)


def test_the_header_of_the_answer_counts_inclusively() -> None:
    assert ByteRange(start=10, end=20, size=100).content_range == "bytes 10-19/100"
