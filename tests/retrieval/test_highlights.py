import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.retrieval.search import find_highlights


@pytest.mark.parametrize(
    ("query", "text", "marked"),
    [
        ("when is the exam", "The Exam is on Monday; no exams in June.", ["Exam", "exams"]),
        ("night train", "the night train, then a train by night", ["night train", "train", "night"]),
        ("Anna's address", "Annas address. Anna's?", ["Annas address", "Anna's"]),
        ("what is it", "it is what it is", []),
        ("考试", "明天考试。", ["考试"]),
        ("考试", "考", []),
        ("天気 iPhone", "今日は天気がいいのでiPhoneを", ["天気", "iPhone"]),
        ("会議室", "大会議室にて会議", ["会議室", "会議"]),
        ("กินข้าว", "วันนี้กินข้าวที่บ้าน", ["กินข้าว"]),
        ("किताब", "यह किताब है, कल नहीं", ["किताब"]),
        ("café", "un cafe\u0301 noir", ["cafe\u0301"]),
        ("exam", "", []),
    ],
)
def test_the_querys_words_are_marked(query: str, text: str, marked: list[str]) -> None:
    assert [text[span.start : span.end] for span in find_highlights(query, text)] == marked


@given(st.text(), st.text())
def test_spans_are_sorted_apart_and_inside(query: str, text: str) -> None:
    spans = find_highlights(query, text)
    bounds = [bound for span in spans for bound in (span.start, span.end)]
    assert bounds == sorted(bounds)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
