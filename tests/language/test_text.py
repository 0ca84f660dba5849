import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.language.text import sentence_bounds


@pytest.mark.parametrize(
    "sentences",
    [
        ["The price is 3.5 million dollars.", "It rose by $0.50 in v2.1."],
        ["Write to bob@example.com.", "We open at 9.30 on weekdays!"],
        ["Dr. Smith and Prof. J. K. Rowling met in the U.S. Senate.", "Nobody knew."],
        ["We begin at 9 a.m. on Monday.", "Is that too early?", "No."],
        ["It ends at 5 p.m.", "Then we leave."],
        ["Der Termin ist am 3. Mai.", "Danach z.B. im Juli."],
        ["See no. 5 and fig. 2.", "I said no.", "Five left."],
        ['He said "stop."', "She did (really!).", "Good…", "Why?!"],
        ["明天九点考试。", "请带铅笔！", "「はい。」", "期限は五月です。"],
        ["no stop at all"],
        ["So do I.", "You too."],
    ],
)
def test_sentences_end_where_a_reader_would_end_them(sentences: list[str]) -> None:
    spaces = "" if "。" in sentences[0] else " "
    text = spaces.join(sentences)
    assert [text[start:end] for start, end in sentence_bounds(f"  {text} ".strip())] == sentences


@given(st.text(alphabet='aB3.?。 \n"', max_size=60))
def test_every_character_but_white_space_is_in_one_sentence(text: str) -> None:
    bounds = list(sentence_bounds(text))
    assert all(start < end for start, end in bounds)
    assert "".join(text[start:end] for start, end in bounds).split() == text.split() or "".join(
        "".join(text[start:end].split()) for start, end in bounds
    ) == "".join(text.split())
