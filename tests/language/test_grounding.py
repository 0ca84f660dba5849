"""Quotes that nobody said are dropped, and times and speakers come from where they were said."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipelines.domain.transcript import Segment
from pipelines.language.grounding import find_quote, ground_items, say_once
from pipelines.language.schemas import for_request
from tests.language.spoken_calls import AGENT, LABELS, SEGMENTS, SUPPORT_CALL, answers_to, shipped_templates

SCHEMAS = [for_request(t.schema, {"labels": LABELS}) for t in shipped_templates().templates.values()]
ENTITIES = shipped_templates().get("entities_v1").schema
MEETING = shipped_templates().get("meeting_notes_v1").schema


def entity(text: str, start_s: float | None = 1.0, speaker: str | None = "nobody") -> dict[str, object]:
    return {"kind": "person", "text": text, "speaker": speaker, "start_s": start_s, "end_s": start_s}


def grounded(*texts: str) -> list[dict[str, Any]]:
    answer = {"entities": [entity(text) for text in texts]}
    return cast(list[dict[str, Any]], ground_items(ENTITIES, answer, SUPPORT_CALL.segments)["entities"])


def test_what_nobody_said_is_dropped() -> None:
    assert [item["text"] for item in grounded("Alice", "Bob", "Hamburg", "", "!?")] == ["Alice", "Hamburg"]


def test_what_was_said_takes_its_time_and_speaker_from_there() -> None:
    assert grounded("hamburg!")[0] == {
        "kind": "person",
        "text": "hamburg!",
        "speaker": AGENT,
        "start_s": 40.0,
        "end_s": 48.0,
    }


def test_a_quote_may_be_spelled_differently_and_run_over_two_segments() -> None:
    assert find_quote("I will send a replacment by friday", SUPPORT_CALL.segments) == SUPPORT_CALL.segments[4]
    assert find_quote("by Friday. That works. Thank you", SUPPORT_CALL.segments) == SUPPORT_CALL.segments[4]
    assert find_quote("I will never send anything to anybody", SUPPORT_CALL.segments) is None


def test_paraphrases_keep_their_place_inside_the_recording() -> None:
    said = {"text": "They met.", "speaker": "Nobody", "start_s": 500.0, "end_s": -3.0}
    answer = {"decisions": [said]}
    decision = cast(list[Mapping[str, object]], ground_items(MEETING, answer, SUPPORT_CALL.segments)["decisions"])[0]
    assert decision == {"text": "They met.", "speaker": None, "start_s": 0.0, "end_s": 68.0}


@pytest.mark.parametrize(
    ("written", "once"),
    [
        ("I will send it. I am not sure. I will send it. I am not sure. I will se", "I will send it. I am not sure."),
        ("It is very important. It is very important. It", "It is very important."),
        ("预算是四万。预算是四万。预算", "预算是四万。"),
        ("The launch is on May 12.  Ben sends the contract.", "The launch is on May 12.  Ben sends the contract."),
        ("Cut off in the mid", "Cut off in the mid"),
        ("", ""),
    ],
)
def test_a_model_in_a_loop_says_it_once(written: str, once: str) -> None:
    assert say_once(written) == once


def test_the_texts_of_an_answer_are_said_once() -> None:
    answer = {"reason": "No parcel. No parcel. No par", "resolution": {"status": "resolved", "text": "Sent. Sent."}}
    said = ground_items(shipped_templates().get("support_call_v1").schema, answer, SUPPORT_CALL.segments)
    assert said == {"reason": "No parcel.", "resolution": {"status": "resolved", "text": "Sent."}}


def test_typed_text_has_no_times() -> None:
    typed = (Segment(id=0, start_s=0.0, end_s=0.0, text="Ask Alice."),)
    found = cast(list[Mapping[str, object]], ground_items(ENTITIES, {"entities": [entity("Alice")]}, typed)["entities"])
    assert (found[0]["start_s"], found[0]["end_s"], found[0]["speaker"]) == (None, None, None)


@given(data=st.data(), segments=SEGMENTS)
def test_a_grounded_answer_still_fits(data: st.DataObject, segments: tuple[Segment, ...]) -> None:
    schema = data.draw(st.sampled_from(SCHEMAS))
    answer = cast(Mapping[str, object], data.draw(answers_to(schema)))
    Draft202012Validator(schema).validate(ground_items(schema, answer, segments))
