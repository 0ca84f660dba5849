import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.passage import TextSpan
from pipelines.retrieval.citations import cite, find_quote, split_spans, support
from tests.retrieval.hits import passage

TEXT = "Good morning. The exam is on the third of May, don't be late! Bring a pencil."


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("the exam is on the third of May", "The exam is on the third of May"),
        ("  “THE EXAM, is on the third of may”…", "The exam is on the third of May"),
        ("dont be late", "don't be late!"),
        ("don’t be late!", "don't be late!"),
        ("Bring a pencil.", "Bring a pencil."),
        ("pencil", "pencil."),
        ("the exam is on Monday", None),
        ("exam on the third", None),
        ("pen", None),
        ("", None),
        ("?!", None),
    ],
)
def test_a_quote_is_found_by_its_words(quote: str, found: str | None) -> None:
    span = find_quote(quote, TEXT)
    assert (span and TEXT[span.start : span.end]) == found


def test_a_quote_is_found_inside_writing_without_spaces() -> None:
    text = "明天上午九点考试。请带铅笔。"
    span = find_quote("上午九点", text)
    assert span is not None
    assert text[span.start : span.end] == "上午九点"
    assert find_quote("下午九点", text) is None


@pytest.mark.parametrize(
    ("quote", "text", "found"),
    [
        ("期限は、五月三日です", "新しい期限は五月三日です。", "期限は五月三日です。"),
        ("期限は五月三日です", "期限は 五月三日です", "期限は 五月三日です"),
        ("ＡＢＣ会議", "次のABC会議で", "ABC会議"),
        ("ﾃﾞｰﾀ会議", "データ会議", "データ会議"),
        ("C会議", "ABC会議", None),  # a word of letters counts as a whole
        ("возможно сделать это", "Это невозможно сделать это сегодня", None),
        ("für", "Dafür bin ich", None),
        ("the exam", "明天 the exam 开始", "the exam"),
    ],
)
def test_words_count_as_wholes_and_only_scripts_without_spaces_are_searched_inside(
    quote: str, text: str, found: str | None
) -> None:
    span = find_quote(quote, text)
    assert (span and text[span.start : span.end]) == found


@given(st.text(alphabet="ab .,'", max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_whatever_is_cut_at_word_borders_is_found(text: str, start: int, end: int) -> None:
    words = text.split()
    quote = " ".join(words[start:end])
    if any(character.isalpha() for character in quote):
        span = find_quote(quote, " ".join(words))
        assert span is None or " ".join(words)[span.start : span.end].strip(" .,'") in " ".join(words)
        assert span is not None


def test_sentences_are_split_with_their_places() -> None:
    assert [TEXT[span.start : span.end] for span in split_spans(TEXT)] == [
        "Good morning.",
        "The exam is on the third of May, don't be late!",
        "Bring a pencil.",
    ]
    assert split_spans("  ") == ()


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        ("You need a pencil", "Bring a pencil."),
        ("The exam is in May", "The exam is on the third of May, don't be late!"),
        ("It is about that", None),
        ("Pencils, rulers, erasers and sharpeners are sold out", None),
        ("Die Katze ist nicht im Haus", "Die Katze schläft nicht im Garten."),
        ("Die Klausur ist nicht im Juni", None),
    ],
)
def test_a_statement_is_supported_by_the_sentence_that_shares_its_words(claim: str, sentence: str | None) -> None:
    texts = [TEXT, "Die Katze schläft nicht im Garten."]
    found = support(claim, texts)
    assert (found and texts[found[0]][found[1].start : found[1].end]) == sentence


def test_a_citation_has_the_time_and_the_speaker_of_its_words() -> None:
    of = passage(("Are you ready for the exam?", "SPEAKER_00", 10.0, 12.7), ("Yes I am.", "SPEAKER_01", 14.0, 15.0))
    start = of.text.index("Yes")
    citation = cite(of, TextSpan(start=start, end=start + 9), collection="notes", n=3)
    assert (citation.n, citation.quote, citation.speaker) == (3, "Yes I am.", "SPEAKER_01")
    assert (citation.start_s, citation.end_s) == (14.0, 15.0)
    assert (citation.job_id, citation.recording, citation.collection) == ("job-1", "talk.wav", "notes")
    assert citation.passage_id == of.passage_id
    inner = cite(of, TextSpan(start=8, end=13), collection="notes", n=1)
    assert (inner.quote, inner.speaker) == ("ready", "SPEAKER_00")
    assert [inner.start_s, inner.end_s] == pytest.approx([10.8, 11.3])
