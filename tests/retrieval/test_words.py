import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.retrieval.words import NAME_WEIGHT, split_terms, telling_terms, term_id, weigh_passage, weigh_query


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The Trains' delays", ["the", "train", "delay"]),
        ("Anna's batteries, 42 boxes", ["anna", "battery", "42", "boxe"]),
        ("ＦＵＬＬ ｗｉｄｔｈ Straße", ["full", "width", "strasse"]),
        ("class bus series", ["class", "bus", "sery"]),
        ("今日は good", ["今日", "日は", "good"]),
        ("我", ["我"]),
        ("यह किताब है", ["यह", "किताब", "है"]),
        ("বাংলা بِسْمِ", ["বাংলা", "بِسْمِ"]),
        ("မြန်မာ ok", ["မြ", "ြန", "န်", "်မ", "မာ", "ok"]),
        ("…!", []),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    assert split_terms(text) == terms


def test_ids_never_change() -> None:
    assert term_id("train") == 0x438290BF


def test_a_repeated_word_weighs_more_but_less_than_twice() -> None:
    once = dict(zip(*_pairs("rain wind"), strict=True))
    twice = dict(zip(*_pairs("rain rain wind"), strict=True))
    rain = term_id("rain")
    assert once[rain] < twice[rain] < 2 * once[rain]


def test_a_word_weighs_more_in_a_short_passage() -> None:
    rain = term_id("rain")
    short, long = (dict(zip(*_pairs(text), strict=True)) for text in ("rain", "rain " + "other words " * 50))
    assert short[rain] > long[rain]


def test_a_question_weighs_each_telling_word_once() -> None:
    query = weigh_query("where is the exam, the oral exam")
    assert set(query.indices) == {term_id("exam"), term_id("oral")}
    assert query.values == (1.0, 1.0)
    assert weigh_query("where, where is it").values == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "telling"),
    [
        ("What will Abbott's talk be about?", {"abbott"}),
        ("Where is it? Ask Meyer in room 12b", {"meyer", "12b"}),
        ("When does it begin", set()),
        ("…Anna and Ben", {"ben"}),
        ("何時 ABC", {"abc"}),
    ],
)
def test_names_and_numbers_tell_more(text: str, telling: set[str]) -> None:
    assert telling_terms(text) == telling


def test_a_question_weighs_a_name_more() -> None:
    query = weigh_query("where does Anna live")
    weights = dict(zip(query.indices, query.values, strict=True))
    assert weights == {term_id("anna"): NAME_WEIGHT, term_id("live"): 1.0}


def test_no_words_no_weights() -> None:
    assert weigh_passage("").indices == weigh_query("?").indices == ()


@given(st.text())
def test_vectors_are_sorted_unique_and_positive(text: str) -> None:
    for vector in (weigh_passage(text), weigh_query(text)):
        assert list(vector.indices) == sorted(set(vector.indices))
        assert all(0 <= index < 2**32 for index in vector.indices)
        assert len(vector.indices) == len(vector.values)
        assert all(value > 0 for value in vector.values)


def _pairs(text: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    vector = weigh_passage(text)
    return vector.indices, vector.values
