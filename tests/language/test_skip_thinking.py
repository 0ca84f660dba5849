import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.language.generation import ThinkingSkipper, without_thinking


def read(text: str, pieces: int) -> list[str]:
    """What is shown at each piece, and at the end."""
    skipper = ThinkingSkipper()
    shown = [skipper.feed(text[place : place + pieces]) for place in range(0, len(text), pieces)]
    return [*shown, skipper.finish()]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("In May.", "In May."),
        ("<think>Hm.</think>In May.", "In May."),
        (" \n<think>Hm,\n\n[1]?</think>\n\nIn May.", "\n\nIn May."),
        ("<think></think>In May.", "In May."),
        ("<think>a < b </thin </think>In May.", "In May."),
        # thinking that never ends is no answer
        ("<think>Hm, in May", ""),
        ("<think>", ""),
        # what only looks like it is one
        ("<thing> is a tag", "<thing> is a tag"),
        ("<thi", "<thi"),
        ("", ""),
        (" \n", " \n"),
        # only what stands in front of the answer is thought
        ("It says <think>no</think>.", "It says <think>no</think>."),
        ("<think>a</think><think>b</think>", "<think>b</think>"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 3, 1_000])
def test_thoughts_in_front_of_an_answer_are_left_out(written: str, shown: str, pieces: int) -> None:
    assert "".join(read(written, pieces)) == shown
    assert without_thinking(written) == shown


def test_no_part_of_a_thought_is_shown_and_an_answer_is_not_held_back() -> None:
    assert read("<think>Hm</think>In May", 1) == [""] * 17 + [*"In May", ""]
    assert read("In May", 1) == [*"In May", ""]


def test_long_thoughts_are_not_kept() -> None:
    skipper = ThinkingSkipper()
    skipper.feed("<think>" + "Hm. " * 10_000)
    assert len(skipper._held or "") < 20


@given(st.text(alphabet="<think>/ a\n", max_size=40), st.integers(1, 9))
def test_how_the_text_is_cut_into_pieces_does_not_matter(written: str, pieces: int) -> None:
    for text in (written, f"<think>{written}", f"<think>{written}</think>{written}"):
        assert "".join(read(text, pieces)) == without_thinking(text)
