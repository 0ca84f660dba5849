import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.passage import SparseVector
from pipelines.retrieval.fusion import WORDS_WEIGHT, fuse_scores, word_shares


def order(dense: dict[str, float], words: dict[str, float]) -> list[str]:
    return [key for key, _ in fuse_scores(dense, words)]


def vector(**weights: float) -> SparseVector:
    """Words as single letters."""
    return SparseVector(indices=tuple(map(ord, weights)), values=tuple(weights.values()))


def scored(rarity: dict[str, float], query: SparseVector, passage: SparseVector) -> tuple[SparseVector, float]:
    """What a store answers that knows how rare words are."""
    asked = dict(zip(query.indices, query.values, strict=True))
    said = zip(passage.indices, passage.values, strict=True)
    return passage, sum(asked.get(index, 0.0) * rarity[chr(index)] * value for index, value in said)


def test_what_is_near_and_has_the_words_comes_first() -> None:
    assert order({"a": 0.6, "b": 0.55, "c": 0.1}, {"b": 1.0, "c": 1.0}) == ["b", "c", "a"]


def test_saying_exactly_the_query_scores_one() -> None:
    assert fuse_scores({"a": 1.0}, {"a": 1.0})[0][1] == pytest.approx(1.0)


def test_the_best_of_bad_matches_by_words_does_not_beat_a_near_passage() -> None:
    assert order({"a": 0.5, "b": 0.3}, {"b": 0.3}) == ["a", "b"]


def test_what_only_the_words_found_counts_as_far_as_the_last_near_one() -> None:
    fused = dict(fuse_scores({"a": 0.5, "b": 0.2}, {"c": 1.0}))
    assert fused["c"] == pytest.approx((0.2 + WORDS_WEIGHT) / (1 + WORDS_WEIGHT))


def test_nothing_fuses_to_nothing() -> None:
    assert fuse_scores({}, {}) == []
    assert word_shares(vector(a=1.0), {}) == {}


def test_a_rare_word_is_a_larger_share_than_a_frequent_one() -> None:
    query, rarity = vector(a=1.0, b=1.0), {"a": 1.0, "b": 3.0, "z": 9.0}
    passages = {"frequent": vector(a=2.0), "rare": vector(b=0.5, z=1.0), "both": vector(a=1.0, b=1.0)}
    shares = word_shares(query, {key: scored(rarity, query, passage) for key, passage in passages.items()})
    assert shares == pytest.approx({"frequent": 0.25, "rare": 0.75, "both": 1.0})


def test_how_often_and_how_densely_a_word_is_said_does_not_matter() -> None:
    query, rarity = vector(a=1.0, b=1.0), {"a": 2.0, "b": 2.0}
    passages = {"short": vector(a=2.0), "long": vector(a=0.4), "other": vector(b=1.0)}
    shares = word_shares(query, {key: scored(rarity, query, passage) for key, passage in passages.items()})
    assert shares == pytest.approx({"short": 0.5, "long": 0.5, "other": 0.5})


def test_what_the_query_weighs_more_is_a_larger_share() -> None:
    query, rarity = vector(a=4.0, b=1.0), {"a": 1.0, "b": 1.0}
    passages = {"a": vector(a=1.0), "b": vector(b=1.0)}
    shares = word_shares(query, {key: scored(rarity, query, passage) for key, passage in passages.items()})
    assert shares == pytest.approx({"a": 0.8, "b": 0.2})


def test_a_word_that_nobody_said_weighs_as_much_as_the_rarest() -> None:
    query, rarity = vector(a=1.0, b=1.0, c=1.0), {"a": 1.0, "b": 2.0}
    passages = {"a": vector(a=1.0), "b": vector(b=1.0)}
    shares = word_shares(query, {key: scored(rarity, query, passage) for key, passage in passages.items()})
    assert shares == pytest.approx({"a": 0.2, "b": 0.4})


def test_matches_without_a_word_of_the_query_have_no_share() -> None:
    assert word_shares(vector(a=1.0), {"x": (vector(z=1.0), 0.0)}) == {"x": 0.0}


scores = st.dictionaries(st.integers(0, 9), st.floats(0, 1))


@given(scores, scores)
def test_everything_found_is_there_once_sorted_and_bounded(dense: dict[int, float], words: dict[int, float]) -> None:
    fused = fuse_scores(dense, words)
    assert {key for key, _ in fused} == set(dense) | set(words)
    assert len(fused) == len(set(dense) | set(words))
    values = [score for _, score in fused]
    assert values == sorted(values, reverse=True)
    assert all(0 <= value <= 1 for value in values)
