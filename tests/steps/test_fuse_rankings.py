import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.passage import SparseVector
from pipelines.steps.fuse_rankings import fuse_scores, ideal_score


def order(dense: dict[str, float], sparse: dict[str, float], ideal: float = 10.0) -> list[str]:
    return [key for key, _ in fuse_scores(dense, sparse, ideal=ideal)]


def test_what_is_near_and_has_the_words_comes_first() -> None:
    assert order({"a": 0.6, "b": 0.55, "c": 0.1}, {"b": 10.0, "c": 10.0}) == ["b", "c", "a"]


def test_saying_exactly_the_query_scores_one() -> None:
    assert fuse_scores({"a": 1.0}, {"a": 10.0}, ideal=10.0)[0][1] == pytest.approx(1.0)


def test_the_best_of_bad_matches_by_words_does_not_beat_a_near_passage() -> None:
    assert order({"a": 0.5, "b": 0.3}, {"b": 3.0}) == ["a", "b"]


def test_what_only_the_words_found_counts_as_far_as_the_last_near_one() -> None:
    fused = dict(fuse_scores({"a": 0.5, "b": 0.2}, {"c": 10.0}, ideal=10.0))
    assert fused["c"] == pytest.approx((0.2 + 1.5) / 2.5)


def test_nothing_fuses_to_nothing() -> None:
    assert fuse_scores({}, {}, ideal=0.0) == []


@pytest.mark.parametrize(("indices", "score", "ideal"), [((1, 2, 3), 6.0, 6.0), ((1, 9), 2.0, 6.0), ((9,), 2.0, 2.0)])
def test_the_ideal_is_the_best_match_scaled_to_the_whole_query(
    indices: tuple[int, ...], score: float, ideal: float
) -> None:
    query = SparseVector(indices=(1, 2, 3), values=(1.0, 1.0, 1.0))
    passage = SparseVector(indices=indices, values=(1.5,) * len(indices))
    assert ideal_score(query, passage, score) == pytest.approx(ideal)


scores = st.dictionaries(st.integers(0, 9), st.floats(0, 1))


@given(scores, scores, st.floats(0, 2))
def test_everything_found_is_there_once_sorted_and_bounded(
    dense: dict[int, float], sparse: dict[int, float], ideal: float
) -> None:
    fused = fuse_scores(dense, sparse, ideal=ideal)
    assert {key for key, _ in fused} == set(dense) | set(sparse)
    assert len(fused) == len(set(dense) | set(sparse))
    values = [score for _, score in fused]
    assert values == sorted(values, reverse=True)
    assert all(0 <= value <= 1 for value in values)
