"""What every LanguageModel promises: the scripted one, and a real client of a real endpoint on this machine."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from jsonschema import Draft202012Validator

from pipelines.domain.answer import CompletionChunk, Message, SamplingOptions
from pipelines.domain.template import Template
from pipelines.errors import GenerationTruncated, InvalidRequest, ModelUnavailable
from pipelines.fakes.language import ScriptedAnswer, ScriptedLanguageModel
from pipelines.language.engines.openai import Endpoint, OpenAILanguageModel
from pipelines.language.schemas import for_model, for_request
from pipelines.ports.language import LanguageModel
from tests.contracts.language_model_server import ChatEndpoint, serving
from tests.language.spoken_calls import shipped_templates

QUESTION = (Message(role="system", content="Answer."), Message(role="user", content="What is a cell?"))
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["word"],
    "properties": {"word": {"type": "string", "maxLength": 20}},
}
SAMPLING = SamplingOptions(temperature=0.0, max_tokens=50)


@dataclass
class Rig:
    """The model under test, and the scripted one that answers behind it."""

    model: LanguageModel
    behind: ScriptedLanguageModel

    def script(self, *answers: ScriptedAnswer | str | Exception) -> None:
        self.behind._script = answers


@pytest.fixture(params=["scripted", "openai"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    behind = ScriptedLanguageModel()
    if request.param == "scripted":
        yield Rig(behind, behind)
        return
    async with (
        serving(ChatEndpoint(behind)) as endpoint,
        OpenAILanguageModel(Endpoint(base_url=endpoint.base_url, model="tiny")) as model,
    ):
        yield Rig(model, behind)


async def collect(model: LanguageModel) -> list[CompletionChunk]:
    return [chunk async for chunk in model.stream(QUESTION, sampling=SAMPLING)]


async def test_an_answer_has_text_reason_usage_and_the_sampling_used(rig: Rig) -> None:
    rig.script("A cell is the smallest unit of life.")
    completion = await rig.model.generate(QUESTION, sampling=SAMPLING)
    assert completion.text == "A cell is the smallest unit of life."
    assert completion.finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.prompt_tokens > 0
    assert completion.usage.completion_tokens > 0
    assert completion.sampling["temperature"] == 0.0
    assert completion.sampling["max_tokens"] == 50


async def test_the_messages_arrive_as_they_are(rig: Rig) -> None:
    await rig.model.generate(QUESTION, sampling=SAMPLING)
    assert rig.behind.calls[0].messages == QUESTION


async def test_a_schema_guides_the_answer(rig: Rig) -> None:
    completion = await rig.model.generate(QUESTION, sampling=SAMPLING, schema=SCHEMA)
    Draft202012Validator(SCHEMA).validate(json.loads(completion.text))


@pytest.mark.parametrize("template", shipped_templates().templates.values(), ids=lambda template: template.id)
async def test_the_schema_of_every_shipped_template_is_taken(rig: Rig, template: Template) -> None:
    schema = for_model(for_request(template.schema, {"labels": ["one", "two"]}))
    completion = await rig.model.generate(QUESTION, sampling=SAMPLING, schema=schema)
    Draft202012Validator(schema).validate(json.loads(completion.text))


async def test_a_plain_answer_that_was_cut_says_so(rig: Rig) -> None:
    rig.script(ScriptedAnswer(text="A cell is", finish_reason="length"))
    assert (await rig.model.generate(QUESTION, sampling=SAMPLING)).finish_reason == "length"


async def test_guided_json_that_was_cut_is_an_error(rig: Rig) -> None:
    rig.script(ScriptedAnswer(text='{"word": "ce', finish_reason="length"))
    with pytest.raises(GenerationTruncated):
        await rig.model.generate(QUESTION, sampling=SAMPLING, schema=SCHEMA)


async def test_a_model_that_is_down_is_unavailable(rig: Rig) -> None:
    rig.script(ModelUnavailable("gone"))
    with pytest.raises(ModelUnavailable) as caught:
        await rig.model.generate(QUESTION, sampling=SAMPLING)
    assert "secret" not in caught.value.message


async def test_messages_beyond_the_context_are_refused(rig: Rig) -> None:
    long = (Message(role="user", content="word " * 20_000),)
    with pytest.raises(InvalidRequest):
        await rig.model.generate(long, sampling=SAMPLING)


async def test_a_stream_yields_the_text_and_ends_with_reason_and_usage(rig: Rig) -> None:
    rig.script("A cell is small.")
    *pieces, last = await collect(rig.model)
    assert "".join(chunk.text for chunk in [*pieces, last]) == "A cell is small."
    assert len(pieces) > 1
    assert all(chunk.finish_reason is None for chunk in pieces)
    assert last.finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.completion_tokens > 0


async def test_a_stream_that_fails_raises(rig: Rig) -> None:
    rig.script(ModelUnavailable("gone"))
    with pytest.raises(ModelUnavailable):
        await collect(rig.model)


async def test_closing_a_stream_stops_the_generation(rig: Rig) -> None:
    closed = asyncio.Event()
    rig.behind.on_closed = closed.set
    rig.script("word " * 100_000)
    chunks = rig.model.stream(QUESTION, sampling=SAMPLING)
    assert (await anext(chunks)).text
    await chunks.aclose()
    await asyncio.wait_for(closed.wait(), 10)
    assert rig.behind.closed_streams == 1


async def test_cancelling_a_call_stops_the_generation(rig: Rig) -> None:
    rig.script(ScriptedAnswer(gate=asyncio.Event()))
    asking = asyncio.create_task(rig.model.generate(QUESTION, sampling=SAMPLING))
    await rig.behind.until_running(1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(rig.behind.until_idle(), 10)
    assert rig.behind.running == 0


async def test_many_calls_may_be_made_at_once(rig: Rig) -> None:
    gate = asyncio.Event()
    rig.script(ScriptedAnswer(text="yes", gate=gate))
    asking = [asyncio.create_task(rig.model.generate(QUESTION, sampling=SAMPLING)) for _ in range(20)]
    await rig.behind.until_running(20)
    gate.set()
    assert {(await answer).text for answer in asking} == {"yes"}


async def test_tokens_can_be_counted(rig: Rig) -> None:
    none, few, many = await rig.model.count_tokens(["", "a cell", "a cell " * 100])
    assert 0 == none < few < many
    assert await rig.model.count_tokens([]) == ()


async def test_it_says_what_it_is(rig: Rig) -> None:
    info = await rig.model.info()
    assert info.role == "llm"
    assert isinstance(info.context_tokens, int)
    assert "structured_output" in info.capabilities
