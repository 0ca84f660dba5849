"""Templates filled from the transcript alone: always fitting, and with what was really said."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Embedding
from pipelines.domain.transcript import Segment, Transcript
from pipelines.errors import ModelUnavailable
from pipelines.fakes.models import FakeEmbedder
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.schemas import for_request
from tests.language.spoken_calls import (
    LABELS,
    LECTURE,
    MEETING,
    SEGMENTS,
    SILENCE,
    SUPPORT_CALL,
    said,
    shipped_templates,
    transcript_of,
)

CATALOG = shipped_templates()
EXTRACTIVE = sorted(template.id for template in CATALOG.templates.values() if template.extractive)


class NoEmbedder:
    """An embedder whose deployment is down."""

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        raise ModelUnavailable("gone")

    async def embed_query(self, text: str) -> Embedding:
        raise ModelUnavailable("gone")

    async def info(self) -> EmbedderInfo:
        return EmbedderInfo(backend="fake", name="gone", vector_size=64)


async def fill(template_id: str, transcript: Transcript, analyst: ExtractiveAnalyst | None = None) -> dict[str, Any]:
    template = CATALOG.get(template_id)
    parameters = {"labels": LABELS} if template.parameters else {}
    extraction = await (analyst or ExtractiveAnalyst(FakeEmbedder())).fill(template, transcript, parameters)
    answer = extraction.answer
    Draft202012Validator(for_request(template.schema, parameters)).validate(answer)
    return dict(answer)


async def test_without_its_embedder_it_says_that_words_were_compared() -> None:
    extraction = await ExtractiveAnalyst(NoEmbedder()).fill(CATALOG.get("meeting_notes_v1"), MEETING, {})
    [degradation] = extraction.degradations("understand")
    assert (degradation.stage, degradation.used, degradation.reason) == ("understand", "bag of words", "gone")
    assert (await ExtractiveAnalyst(FakeEmbedder()).fill(CATALOG.get("meeting_notes_v1"), MEETING, {})).by_words is None


@pytest.mark.parametrize("template_id", EXTRACTIVE)
@pytest.mark.parametrize(
    "transcript", [SUPPORT_CALL, MEETING, LECTURE, SILENCE], ids=["call", "meeting", "lecture", "silence"]
)
@pytest.mark.parametrize(
    "analyst", [ExtractiveAnalyst(FakeEmbedder()), ExtractiveAnalyst(NoEmbedder()), ExtractiveAnalyst()]
)
async def test_every_shipped_template_is_filled(
    template_id: str, transcript: Transcript, analyst: ExtractiveAnalyst
) -> None:
    await fill(template_id, transcript, analyst)


@settings(max_examples=40, deadline=None)
@given(segments=SEGMENTS)
def test_whatever_was_said_the_answer_fits(segments: tuple[Segment, ...]) -> None:
    import asyncio

    async def fill_all() -> None:
        for template_id in EXTRACTIVE:
            await fill(template_id, transcript_of(segments), ExtractiveAnalyst())

    asyncio.run(fill_all())


async def test_a_call_is_summarised_with_times_and_speakers() -> None:
    summary = await fill("support_call_v1", SUPPORT_CALL)
    assert "order number 48213" in summary["reason"]
    assert summary["resolution"]["status"] == "resolved"
    assert summary["customer_mood"] == "positive"
    references = {(entry["kind"], entry["text"]) for entry in summary["references"]}
    assert references == {
        ("order_number", "order number 48213"),
        ("phone", "555 867 5309"),
        ("money", "$49.90"),
        ("date", "March 3rd"),
        ("date", "Friday"),
    }
    promised = summary["follow_ups"][0]
    assert promised["text"] == "I will send a replacement by Friday."
    assert promised["speaker"] == "SPEAKER_00"
    assert 40.0 < promised["start_s"] < promised["end_s"] <= 48.0


async def test_a_meeting_has_its_decision_and_its_tasks() -> None:
    notes = await fill("meeting_notes_v1", MEETING)
    assert notes["participants"] == ["Ada", "Ben"]
    assert [entry["text"] for entry in notes["decisions"]] == ["Then we agreed that the launch is on May 12."]
    tasks = {entry["task"]: (entry["owner"], entry["due"]) for entry in notes["action_items"]}
    assert tasks["Ben, can you send the contract by Monday?"] == ("Ada", "Monday")
    assert notes["open_questions"][-1]["text"] == "I am not sure who talks to the press."


async def test_a_lecture_has_its_definition_example_and_exam() -> None:
    notes = await fill("lecture_notes_v1", LECTURE)
    assert notes["definitions"][0]["definition"] == "The smallest unit of life is called a cell."
    assert notes["examples"][0]["text"].startswith("For example, a bacterium")
    assert notes["announcements"][0]["text"].startswith("The exam next week")


async def test_a_call_gets_a_quality_score_with_evidence() -> None:
    quality = await fill("call_quality_v1", SUPPORT_CALL)
    assert quality["passed"] is True
    assert quality["criteria"]["greeting"]["evidence"][0]["quote"].startswith("Good morning")
    rude = await fill("call_quality_v1", said(("SPEAKER_00", "What."), ("SPEAKER_01", "It is broken.")))
    assert rude["score"] == 0.0
    assert rude["passed"] is False


async def test_a_label_is_chosen_by_what_was_said() -> None:
    billing = said(("SPEAKER_01", "I have a question about the billing of my last invoice."))
    answer = await fill("classification_v1", billing)
    assert answer["label"] == "billing question"
    assert answer["evidence"][0]["quote"] == billing.segments[0].text
    assert 1 / len(LABELS) < answer["confidence"] <= 1


async def test_typed_text_has_no_times() -> None:
    typed = Transcript(language="en", duration_s=0.0, segments=(Segment(id=0, start_s=0, end_s=0, text="Pay $5 now."),))
    entities = cast(list[Mapping[str, object]], (await fill("entities_v1", typed))["entities"])
    assert [(entity["text"], entity["start_s"], entity["speaker"]) for entity in entities] == [("$5", None, None)]


async def test_a_translation_cannot_be_extracted() -> None:
    with pytest.raises(ModelUnavailable, match="needs a language model"):
        await ExtractiveAnalyst().fill(CATALOG.get("translation_v1"), MEETING, {"target_language": "de"})


async def test_a_day_of_talk_is_thinned_out_before_it_is_ranked() -> None:
    talk = said(*[(f"SPEAKER_0{place % 2}", f"Sentence {place} is about topic {place % 7}.") for place in range(3000)])
    notes = await fill("meeting_notes_v1", talk)
    assert notes["topics"][-1]["start_s"] > notes["topics"][0]["start_s"]


async def test_it_says_what_it_is() -> None:
    info = await ExtractiveAnalyst(FakeEmbedder()).info()
    assert (info.backend, info.embedder) == ("extractive", "bag-of-words")
