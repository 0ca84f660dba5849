import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.domain.model import LanguageModelInfo
from pipelines.errors import ModelUnavailable
from pipelines.fakes.language import ScriptedLanguageModel
from pipelines.fakes.models import FakeEmbedder
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from pipelines.language.templates import TemplateCatalog, load_templates
from serve_app.settings import SHIPPED_FOLDER
from tests.api.conftest import BuildWorld, World

TEXT = "good morning this is ann i call about order 4711 it never arrived please send it by friday thank you"


@pytest.fixture(scope="module")
def templates() -> TemplateCatalog:
    return load_templates([SHIPPED_FOLDER / "configs" / "templates"])


@pytest.fixture
async def skilled(build: BuildWorld, templates: TemplateCatalog) -> World:
    """A world whose language model answers with whatever fits the schema."""
    ports = LanguagePorts(templates=templates, analyst=ExtractiveAnalyst(FakeEmbedder()), model=ScriptedLanguageModel())
    world: World = await build(language=ports, run_jobs=False)
    return world


@pytest.fixture
async def modelless(build: BuildWorld, templates: TemplateCatalog) -> World:
    """A world without a language model."""
    world: World = await build(
        language=LanguagePorts(templates=templates, analyst=ExtractiveAnalyst(FakeEmbedder())), run_jobs=False
    )
    return world


async def apply(world: World, skill: str, **fields: Any) -> httpx.Response:
    return await world.client.post(f"/v1/text/{skill}", json={"text": TEXT, **fields})


NEEDED: dict[str, dict[str, Any]] = {
    "enhance": {},
    "summarize": {"template_id": "meeting_notes_v1"},
    "entities": {},
    "classify": {"labels": ["complaint", "question"]},
    "evaluate": {},
}


@pytest.mark.parametrize("skill", NEEDED)
async def test_every_skill_without_a_model_answers_and_says_so(modelless: World, skill: str) -> None:
    response = await apply(modelless, skill, **NEEDED[skill])

    assert response.status_code == 200, response.text
    body = response.json()
    assert body["skill"] == skill
    assert body["result"]
    assert body["degraded"][0]["reason"].endswith("no language model is configured")


@pytest.mark.parametrize("skill", [*NEEDED, "translate"])
async def test_every_skill_with_a_model(skilled: World, skill: str) -> None:
    response = await apply(skilled, skill, **NEEDED.get(skill, {"target_language": "de"}))

    assert response.status_code == 200, response.text
    assert response.json()["versions"]


@pytest.mark.parametrize("background", [False, True])
async def test_translating_without_a_model_is_refused(modelless: World, background: bool) -> None:
    response = await apply(modelless, "translate", target_language="de", background=background)

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (422, "not_available", "skill")
    assert modelless.stored == []


class AwayLanguageModel(ScriptedLanguageModel):
    """Configured, and not there."""

    async def info(self) -> LanguageModelInfo:
        raise ModelUnavailable("the language model does not answer")


async def test_a_model_that_is_down_is_no_reason_to_refuse(build: BuildWorld, templates: TemplateCatalog) -> None:
    ports = LanguagePorts(templates=templates, analyst=ExtractiveAnalyst(FakeEmbedder()), model=AwayLanguageModel())
    world = await build(language=ports, run_jobs=False)

    response = await apply(world, "translate", target_language="de")

    assert response.status_code == 200, response.text
    assert response.json()["degraded"]


async def test_segments_keep_their_speakers_and_times(modelless: World) -> None:
    segments = [
        {"text": "so um hello there", "speaker": "Ann", "start_s": 1.0, "end_s": 2.0},
        {"text": "hi ann", "speaker": "Bob", "start_s": 2.0, "end_s": 3.0},
    ]

    body = (await modelless.client.post("/v1/text/enhance", json={"segments": segments})).json()

    assert [segment["speaker"] for segment in body["result"]["segments"]] == ["Ann", "Bob"]
    assert [segment["start_s"] for segment in body["result"]["segments"]] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("skill", "fields", "param"),
    [
        ("summarize", {}, "template_id"),
        ("summarize", {"template_id": "nothing"}, "template_id"),
        ("summarize", {"template_id": "../x"}, "template_id"),
        ("summarize", {"template_id": "entities_v1"}, "template_id"),
        ("classify", {}, "labels"),
        ("classify", {"labels": [f"label {n}" for n in range(5_000)]}, "labels"),
        ("classify", {"labels": ["a", "a"]}, "labels"),
        ("translate", {}, "target_language"),
        ("translate", {"target_language": "klingon"}, "target_language"),
        ("entities", {"text": ""}, "text"),
        ("entities", {"text": " .,-"}, "text"),
        ("entities", {"text": None}, None),
        ("entities", {"segments": [{"text": "x"}]}, None),
        ("entities", {"text": None, "segments": [{"text": "x", "start_s": 5, "end_s": 1}]}, "segments"),
        ("entities", {"text": None, "segments": [{"speaker": "x"}]}, "segments.0.text"),
        ("entities", {"sampling": {"temperature": "hot"}}, "sampling.temperature"),
        ("entities", {"background": "soon"}, "background"),
        ("entities", {"priority": "high"}, "priority"),
        ("entities", {"background": True, "priority": "urgent"}, "priority"),
        ("sing", {}, "skill"),
    ],
)
async def test_wrong_requests_are_named(skilled: World, skill: str, fields: dict[str, Any], param: str | None) -> None:
    response = await apply(skilled, skill, **fields)

    assert response.status_code == 422, response.text
    assert response.json()["error"]["param"] == param


async def test_a_text_may_have_as_many_characters_as_the_settings_say(skilled: World) -> None:
    """Whatever they take as bytes: the limit of a body would otherwise come first."""
    assert skilled.services.settings.limits.text_characters == 1_000_000
    longest = "\u4e2d" * 999_999 + "."
    assert (await apply(skilled, "entities", text=longest)).status_code == 200
    refused = await apply(skilled, "entities", text=longest + "x")
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")


async def test_a_text_of_eight_megabytes_is_too_large(skilled: World) -> None:
    assert (await apply(skilled, "entities", text="word " * 1_600_000)).status_code == 413


async def test_a_profile_without_skills_says_so(world: World) -> None:
    assert (await apply(world, "entities")).json()["error"]["code"] == "not_available"


class TestJobs:
    async def submit(self, world: World, wav: bytes, **fields: Any) -> httpx.Response:
        return await world.client.post("/v1/jobs", files={"file": ("a.wav", wav)}, data=fields)

    async def test_features_made_of_language_are_offered(self, skilled: World, wav: bytes) -> None:
        response = await self.submit(skilled, wav, features="summary,entities,quality", template_id="meeting_notes_v1")

        assert response.status_code == 202, response.text
        assert response.json()["template_id"] == "meeting_notes_v1"

    async def test_a_translation_is_not_offered_without_a_model(self, modelless: World, wav: bytes) -> None:
        refused = await self.submit(modelless, wav, features="summary,translation", template_id="meeting_notes_v1",
                                    target_language="de")  # fmt: skip

        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["param"]) == (422, "not_available", "features")
        assert modelless.stored == []
        assert (await self.submit(modelless, wav, features="entities")).status_code == 202

    async def test_a_translation_is_offered_with_a_model(self, skilled: World, wav: bytes) -> None:
        assert (await self.submit(skilled, wav, features="translation", target_language="de")).status_code == 202

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"features": "summary"}, "template_id"),
            ({"features": "summary", "template_id": "nothing"}, "template_id"),
            ({"features": "classification"}, "labels"),
            ({"features": "translation"}, "target_language"),
            ({"features": "translation", "target_language": "xx"}, "target_language"),
        ],
    )
    async def test_what_they_need_is_checked_before_a_job_is_acknowledged(
        self, skilled: World, wav: bytes, fields: dict[str, str], param: str
    ) -> None:
        response = await self.submit(skilled, wav, **fields)

        assert (response.status_code, response.json()["error"]["param"]) == (422, param)
        assert skilled.stored == []


class TestTemplates:
    @pytest.fixture
    def with_a_broken_one(self, tmp_path: Path) -> TemplateCatalog:
        (tmp_path / "mine_v1.json").write_text('{"type": "objekt"}')
        return load_templates([SHIPPED_FOLDER / "configs" / "templates", tmp_path])

    async def test_list_and_show(self, skilled: World) -> None:
        listed = (await skilled.client.get("/v1/templates")).json()
        shown = (await skilled.client.get("/v1/templates/meeting_notes_v1")).json()

        assert "call_quality_v1" in [template["id"] for template in listed["data"]]
        assert listed["broken"] == []
        assert (shown["feature"], shown["json_schema"]["type"]) == ("summary", "object")
        assert json.dumps(shown["json_schema"])

    @pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e%2fconfigs"])
    async def test_unknown(self, skilled: World, name: str) -> None:
        assert (await skilled.client.get(f"/v1/templates/{name}")).status_code == 404

    async def test_a_broken_one_says_what_is_wrong_and_stops_nothing(
        self, build: BuildWorld, with_a_broken_one: TemplateCatalog, tmp_path: Path
    ) -> None:
        ports = LanguagePorts(templates=with_a_broken_one, analyst=ExtractiveAnalyst(FakeEmbedder()))
        world = await build(language=ports)

        shown = await world.client.get("/v1/templates/mine_v1")
        listed = (await world.client.get("/v1/templates")).json()
        health = (await world.client.get("/health/detailed")).json()

        assert (shown.status_code, shown.json()["error"]["code"]) == (422, "template_invalid")
        assert str(tmp_path) not in shown.text
        assert [broken["id"] for broken in listed["broken"]] == ["mine_v1"] == list(health["broken_templates"])
        assert len(listed["data"]) > 5

    async def test_none(self, world: World) -> None:
        assert (await world.client.get("/v1/templates")).json()["data"] == []
