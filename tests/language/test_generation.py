"""Whatever the model writes, what comes out fits the schema or is an error that says what went wrong."""

from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipelines.domain.answer import Completion, FinishReason, TokenUsage
from pipelines.errors import GenerationInvalid, GenerationTruncated, ModelError
from pipelines.language.generation import all_texts, is_garbage, parse_generation
from pipelines.language.schemas import for_model, for_request
from tests.language.spoken_calls import LABELS, answers_to, as_json, shipped_templates

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["text"],
    "properties": {"text": {"type": "string", "maxLength": 2000}, "score": {"type": "number", "maximum": 5}},
}
MODEL_SCHEMAS = [for_model(for_request(t.schema, {"labels": LABELS})) for t in shipped_templates().templates.values()]


def written(text: str, finish_reason: FinishReason = "stop") -> Completion:
    return Completion(text=text, finish_reason=finish_reason, usage=TokenUsage(prompt_tokens=1, completion_tokens=1))


@pytest.mark.parametrize(
    "text",
    [
        '{"text": "yes"}',
        ' \n {"text": "yes"}\n',
        '```json\n{"text": "yes"}\n```',
        '<think>Hm, {"text": "no"}?</think>\n{"text": "yes"}',
    ],
)
def test_an_answer_is_found(text: str) -> None:
    assert parse_generation(written(text), SCHEMA) == {"text": "yes"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yes",
        "null",
        "[]",
        "{}",
        '{"text": 3}',
        '{"text": "yes", "more": 1}',
        '{"text": "yes"} {"text": "no"}',
        '{"text": "yes", "score": NaN}',
        '{"text": "yes", "score": 1e999}',
        '{"text": "yes", "score": ' + "9" * 5000 + "}",
        "[" * 100_000,
        '{"text": "' + "x" * 2001 + '"}',
        '{"text": "' + "ha " * 40 + '"}',
        '{"text": "\\ud800"}',
        '{"text": "a\\u0000b"}',
        '{"text":' + " " * 64,
    ],
)
def test_anything_else_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(GenerationInvalid) as caught:
        parse_generation(written(text), SCHEMA)
    assert len(caught.value.message) < 300
    assert "ha ha" not in caught.value.message


def test_a_white_space_loop_is_told_from_a_truncated_answer() -> None:
    with pytest.raises(GenerationInvalid, match="white space"):
        parse_generation(written('{"text": "yes",' + "\n" * 200, "length"), SCHEMA)
    with pytest.raises(GenerationTruncated):
        parse_generation(written('{"text": "yes and then', "length"), SCHEMA)


@given(text=st.text() | st.from_regex(r'\{"text": ?".{0,30}"\}?', fullmatch=True))
def test_any_text_fits_or_is_an_error(text: str) -> None:
    for finish_reason in ("stop", "length"):
        try:
            answer = parse_generation(written(text, finish_reason), SCHEMA)
        except ModelError:
            continue
        Draft202012Validator(SCHEMA).validate(answer)


@given(data=st.data())
def test_every_fitting_answer_to_a_shipped_template_is_taken(data: st.DataObject) -> None:
    schema = data.draw(st.sampled_from(MODEL_SCHEMAS))
    answer = data.draw(answers_to(schema))
    garbage = any(is_garbage(text) for text in all_texts(answer))
    with pytest.raises(GenerationInvalid) if garbage else nullcontext():
        assert parse_generation(written(as_json(answer)), schema) == answer


def test_ordinary_repetition_is_not_garbage() -> None:
    assert not is_garbage("No, no, no. That is very, very good. Bye bye bye.")
    assert not is_garbage("Call 0000 0000 or 1-800-555-5555.")
    assert is_garbage("the the " * 30)
    assert is_garbage("�")
