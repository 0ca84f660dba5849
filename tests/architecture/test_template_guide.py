"""The page on writing templates is run: its example loads, answers what it says, and no hint is left out."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
from jsonschema import Draft202012Validator

from pipelines.domain.template import Template
from pipelines.domain.understanding import UnderstandingRequest
from pipelines.fakes.language import ScriptedLanguageModel
from pipelines.language import extraction as fill_template
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from pipelines.language.prompts import VARIABLES
from pipelines.language.schemas import KNOWN_KEYWORDS
from pipelines.language.templates import FEATURES, load_templates
from pipelines.language.understand import understand_transcript
from tests.language.spoken_calls import SHIPPED, said

GUIDE = (SHIPPED / "README.md").read_text()
INTERVIEW = said(
    ("SPEAKER_00", "Is it true that you sold the bridge?"),
    ("SPEAKER_01", "I never sold a bridge, and we will never sell one. Thank you."),
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL)


@pytest.fixture
def example(tmp_path: Path) -> Template:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "statements_v1.json").write_text(blocks("json")[0])
    (tmp_path / "prompts" / "statements_v1.jinja").write_text(blocks("jinja")[0])
    catalog = load_templates([SHIPPED, tmp_path])
    assert catalog.broken == {}
    return catalog.get("statements_v1")


async def test_the_example_answers_as_the_page_says(example: Template) -> None:
    answer = (await ExtractiveAnalyst().fill(example, INTERVIEW, {})).answer
    assert answer == json.loads(blocks("json")[1])


async def test_the_example_is_served_by_a_model_too(example: Template, tmp_path: Path) -> None:
    ports = LanguagePorts(
        templates=load_templates([SHIPPED, tmp_path]), analyst=ExtractiveAnalyst(), model=ScriptedLanguageModel()
    )
    request = UnderstandingRequest(features=("summary",), templates={"summary": "statements_v1"})
    report = await understand_transcript(INTERVIEW, request, ports)
    assert report.degraded == ()
    Draft202012Validator(example.schema).validate(report.results["summary"])


def test_every_hint_keyword_feature_and_variable_stands_on_the_page() -> None:
    mentioned = set(re.findall(r"`\"?\$?([\w-]+)[^`]*`", GUIDE))
    hints = {*fill_template.VALUES, *fill_template.LISTS, "scope"}
    keywords = {keyword.lstrip("$") for keyword in KNOWN_KEYWORDS} - {"schema", "id", "default", "examples"}
    assert hints | keywords | set(FEATURES) | set(VARIABLES) <= mentioned


def test_every_x_keyword_of_the_shipped_templates_stands_on_the_page() -> None:
    used = {key for path in SHIPPED.glob("*.json") for key in keys(json.loads(path.read_text())) if key[:2] == "x-"}
    for keyword in used:
        assert f"`{keyword}" in GUIDE or f"`{keyword}" in GUIDE.replace('"', ""), keyword


def keys(value: object) -> set[str]:
    if isinstance(value, list):
        return {key for item in value for key in keys(item)}
    if isinstance(value, Mapping):
        inner = cast(Mapping[str, object], value)
        return set(inner) | {key for item in inner.values() for key in keys(item)}
    return set()
