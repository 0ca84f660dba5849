"""Translation turn by turn: times and speakers stay, and what was not translated is said."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pipelines.domain.answer import Message
from pipelines.domain.model import LanguageModelInfo
from pipelines.domain.understanding import UnderstandingRequest
from pipelines.errors import InvalidRequest
from pipelines.fakes.language import ScriptedLanguageModel
from pipelines.language.understand import understand_transcript
from tests.language.rig import ports, scripted
from tests.language.spoken_calls import MEETING


async def test_a_translation_keeps_times_and_speakers() -> None:
    def translate(messages: Sequence[Message], schema: Mapping[str, object] | None) -> str:
        return json.dumps({"text": "Auf Deutsch: " + messages[1].content.split("\n")[1]})

    request = UnderstandingRequest(features=("translation",), target_language="de")
    model = scripted(translate)
    report = await understand_transcript(MEETING, request, ports(model))
    answer: Any = report.results["translation"]
    assert [(s["start_s"], s["speaker"]) for s in answer["segments"]] == [
        (s.start_s, s.speaker) for s in MEETING.segments
    ]
    assert all(s["text"].startswith("Auf Deutsch: ") for s in answer["segments"])
    assert (answer["language"], answer["source_language"], answer["untranslated"]) == ("de", "en", [])
    assert "from English into German" in model.calls[0].messages[0].content
    assert report.versions["translation"]["chunks"] == 4  # type: ignore[index]


async def test_turns_that_come_back_untranslated_are_reported() -> None:
    def echo(messages: Sequence[Message], schema: Mapping[str, object] | None) -> str:
        return json.dumps({"text": messages[1].content.split("\n")[1]})

    request = UnderstandingRequest(features=("translation",), target_language="de")
    report = await understand_transcript(MEETING, request, ports(scripted(echo)))
    answer: Any = report.results["translation"]
    assert [entry["reason"] for entry in answer["untranslated"]] == ["untranslated"] * 4
    assert answer["text"] == MEETING.text
    assert report.degraded[0].used == "untranslated"


async def test_a_translation_into_the_same_language_is_a_copy() -> None:
    model = scripted()
    request = UnderstandingRequest(features=("translation",), target_language="en-GB")
    report = await understand_transcript(MEETING, request, ports(model))
    assert report.results["translation"]["text"] == MEETING.text  # type: ignore[index]
    assert model.calls == []


async def test_a_language_that_the_model_does_not_know_is_refused() -> None:
    info = LanguageModelInfo(backend="fake", name="two", languages=("en", "fr"), context_tokens=8192)
    request = UnderstandingRequest(features=("translation",), target_language="de")
    with pytest.raises(InvalidRequest, match="does not translate into 'de'") as caught:
        await understand_transcript(MEETING, request, ports(ScriptedLanguageModel(info=info)))
    assert caught.value.param == "target_language"
