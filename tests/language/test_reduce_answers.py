"""Reducing loses no part, and what it makes fits the schema."""

from collections.abc import Mapping
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipelines.domain.template import Schema
from pipelines.language.grounding import group_answers, merge_answers
from pipelines.language.schemas import for_model, for_request
from tests.language.spoken_calls import LABELS, answers_to, shipped_templates

MODEL_SCHEMAS = [for_model(for_request(t.schema, {"labels": LABELS})) for t in shipped_templates().templates.values()]
TEXTS = {"type": "array", "maxItems": 4, "items": {"type": "string", "maxLength": 20}}


def one_field(field: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "required": ["field"], "properties": {"field": field}}


def merged(field: Schema, *values: object) -> object:
    return merge_answers(one_field(field), [{"field": value} for value in values])["field"]


@given(data=st.data())
def test_whatever_the_parts_say_the_merged_answer_fits(data: st.DataObject) -> None:
    schema = data.draw(st.sampled_from(MODEL_SCHEMAS))
    answers = data.draw(st.lists(answers_to(schema), min_size=1, max_size=3))
    merged = merge_answers(schema, cast(list[Mapping[str, object]], answers))
    Draft202012Validator(schema).validate(merged)


@given(sizes=st.lists(st.integers(min_value=0, max_value=50), max_size=40), budget=st.integers(1, 100))
def test_every_part_is_in_exactly_one_group(sizes: list[int], budget: int) -> None:
    groups = group_answers(sizes, budget)
    assert [index for group in groups for index in group] == list(range(len(sizes)))
    assert all(len(group) >= 2 for group in groups[:-1])
    assert not len(sizes) > 1 or len(groups) < len(sizes), "a round must make progress"
    for group in groups:
        assert len(group) <= 2 or sum(sizes[index] for index in group) <= budget


def test_lists_are_joined_in_order_without_repetition() -> None:
    assert merged(TEXTS, ["a", "b"], ["b", "c"]) == ["a", "b", "c"]


def test_entries_that_say_the_same_at_the_same_time_are_kept_once() -> None:
    item = {
        "type": "object",
        "properties": {"text": {"type": "string", "maxLength": 99}, "start_s": {"type": "number"}},
    }
    field = {"type": "array", "maxItems": 9, "items": item}
    first, again, later = (
        {"text": "Ben sends the contract.", "start_s": 3.0},
        {"text": "Ben sends the contract", "start_s": 3.0},
        {"text": "Ben sends the contract.", "start_s": 90.0},
    )
    assert merged(field, [first], [again, later]) == [first, later]


def test_too_long_lists_are_thinned_evenly() -> None:
    assert merged(TEXTS, list("abcd"), list("efgh")) == ["a", "c", "e", "g"]


def test_too_long_texts_share_the_room() -> None:
    text = cast(str, merged({"type": "string", "maxLength": 30}, "one " * 10, "two " * 10))
    assert len(text) <= 30
    assert "one" in text
    assert "two" in text


def test_choices_go_by_majority_and_numbers_by_mean() -> None:
    assert merged({"enum": ["x", "y"]}, "x", "y", "y") == "y"
    assert merged({"type": "integer", "minimum": 0, "maximum": 5}, 1, 4) == 2
    assert merged({"type": ["number", "null"], "minimum": 0, "maximum": 5}, None, 1.0, 2.0) == 1.5
    assert merged({"type": "boolean"}, True, False, True) is True
    assert merged({"type": ["string", "null"], "maxLength": 5}, None, None) is None
