import pytest

from pipelines.steps.fuse_rankings import fuse_rankings


def test_what_both_rankings_like_comes_first() -> None:
    fused = fuse_rankings([["a", "b", "c"], ["c", "b", "d"]], constant=60)
    assert [key for key, _ in fused] == ["c", "b", "a", "d"]


def test_first_everywhere_is_one() -> None:
    assert fuse_rankings([["a"], ["a"]])[0][1] == pytest.approx(1.0)
    assert fuse_rankings([["a"], []])[0][1] == pytest.approx(0.5)


def test_a_weight_decides() -> None:
    assert fuse_rankings([["a"], ["b"]], weights=[1.0, 2.0])[0][0] == "b"


def test_ties_keep_the_order_of_appearance() -> None:
    assert [key for key, _ in fuse_rankings([["a"], ["b"]])] == ["a", "b"]


def test_nothing_fuses_to_nothing() -> None:
    assert fuse_rankings([]) == []
