"""Loading templates: what ships is sound, and what is broken says so and stops nothing else."""

import json
import shutil
from pathlib import Path

import pytest

from pipelines.errors import InvalidRequest, NotFound, TemplateInvalid
from pipelines.language.templates import DEFAULT_TEMPLATES, load_templates
from tests.language.spoken_calls import SHIPPED, shipped_templates

TEXT = {"type": "string", "maxLength": 50}
SOUND: dict[str, object] = {
    "title": "Mood",
    "x-feature": "summary",
    "type": "object",
    "additionalProperties": False,
    "required": ["mood"],
    "properties": {"mood": TEXT},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prompts").mkdir()
    return tmp_path


def write(folder: Path, name: str, schema: object, prompt: str | None = "Say the mood.") -> None:
    (folder / f"{name}.json").write_text(schema if isinstance(schema, str) else json.dumps(schema))
    if prompt is not None:
        (folder / "prompts" / f"{name}.jinja").write_text(prompt)


def test_all_shipped_templates_load() -> None:
    catalog = shipped_templates()
    assert catalog.broken == {}
    assert set(catalog.templates) == {path.stem for path in SHIPPED.glob("*.json")}
    assert {"meeting_notes_v1", "lecture_notes_v1", "support_call_v1", *DEFAULT_TEMPLATES.values()} == set(
        catalog.templates
    )


def test_the_hash_changes_with_schema_and_prompt(folder: Path) -> None:
    write(folder, "mood", SOUND)
    first = load_templates([folder]).get("mood").hash
    write(folder, "mood", SOUND, "Say the mood, please.")
    second = load_templates([folder]).get("mood").hash
    write(folder, "mood", {**SOUND, "title": "Moods"}, "Say the mood, please.")
    third = load_templates([folder]).get("mood").hash
    assert len({first, second, third}) == 3


@pytest.mark.parametrize(
    ("schema", "prompt", "complaint"),
    [
        ("{", "x", "not a usable JSON Schema"),
        ("[1]", "x", "not an object|not a JSON Schema|not of type"),
        ({**SOUND, "type": "objekt"}, "x", "not a JSON Schema"),
        ({**SOUND, "x-feature": "poetry"}, "x", "x-feature must be one of"),
        ({**SOUND, "title": 3}, "x", "not a JSON Schema"),
        ({**SOUND, "properties": {"mood": {"type": "string"}}}, "x", r"\$\.mood: a string needs maxLength"),
        (
            {**SOUND, "properties": {"mood": {"type": "array", "maxItems": 2}}},
            "x",
            "an array needs items|a array needs items",
        ),
        ({**SOUND, "properties": {"mood": {"type": "array", "items": TEXT}}}, "x", "needs maxItems"),
        ({**SOUND, "properties": {"mood": {"type": "number", "minimum": 0}}}, "x", "needs maximum"),
        ({**SOUND, "properties": {"mood": {"type": "object"}}}, "x", "an object needs properties"),
        ({**SOUND, "properties": {"mood": {}}}, "x", "type is missing"),
        ({**SOUND, "properties": {"mood": {**TEXT, "pattern": "a+"}}}, "x", "pattern is not supported"),
        ({**SOUND, "additionalProperties": True}, "x", "additionalProperties"),
        ({**SOUND, "required": []}, "x", "every property must be required"),
        ({**SOUND, "properties": {"mood": {"$ref": "#/$defs/nowhere"}}}, "x", "there is no definition"),
        ({**SOUND, "properties": {"mood": {"$ref": "other.json"}}}, "x", "does not point into"),
        (
            {**SOUND, "$defs": {"m": {"$ref": "#/$defs/m"}}, "properties": {"mood": {"$ref": "#/$defs/m"}}},
            "x",
            "itself",
        ),
        ({**SOUND, "properties": {"mood": {**TEXT, "x-extract": {"take": "guess"}}}}, "x", "hints cannot be followed"),
        ({**SOUND, "properties": {"mood": {**TEXT, "x-extract": {"take": "salient", "count": "x"}}}}, "x", "x-extract"),
        ({**SOUND, "x-parameters": ["colour"]}, "x", "x-parameters may hold"),
        ({**SOUND, "x-max-tokens": 0}, "x", "x-max-tokens"),
        ({**SOUND, "x-mode": "rewrite"}, "x", "x-mode must be rewrite for"),
        ({**SOUND, "x-feature": "translation"}, "x", "x-mode must be rewrite for"),
        ({**SOUND, "x-feature": "translation", "x-mode": "rewrite"}, "x", "one property, text"),
        ({**SOUND, "x-ground": "quote"}, "x", "x-ground names no property"),
        ({**SOUND, "properties": {"mood": {**TEXT, "x-enum-from": "labels"}}}, "x", "x-enum-from must name"),
        (SOUND, None, "mood.jinja is missing"),
        (SOUND, "   ", "the prompt must have"),
        (SOUND, "Hello {{ nobody }}", "nobody"),
        (SOUND, "{% if %}", "cannot be rendered"),
        (SOUND, "{{ labels | join }}", "labels"),
        (SOUND, "{{ ''.__class__.__mro__ }}", "unsafe|cannot be rendered"),
        (SOUND, "{{ 1 / 0 }}", "cannot be rendered"),
    ],
)
def test_a_broken_template_names_what_is_wrong_and_stops_nothing_else(
    folder: Path, schema: object, prompt: str | None, complaint: str
) -> None:
    write(folder, "good", SOUND)
    write(folder, "mood", schema, prompt)
    catalog = load_templates([folder])
    assert set(catalog.templates) == {"good"}
    with pytest.raises(TemplateInvalid, match=complaint) as caught:
        catalog.get("mood")
    assert caught.value.message.startswith("template mood: ")
    assert str(folder) not in caught.value.message


def test_names_that_a_path_gives_a_meaning_to_are_refused(folder: Path) -> None:
    write(folder, "a b", SOUND)
    assert "letters, digits" in load_templates([folder]).broken["a b"]


def test_an_operators_folder_adds_and_replaces(folder: Path) -> None:
    write(folder, "mood", SOUND)
    shutil.copy(SHIPPED / "entities_v1.json", folder)
    (folder / "prompts" / "entities_v1.jinja").write_text("Find things.")
    catalog = load_templates([SHIPPED, folder])
    assert catalog.get("mood").feature == "summary"
    assert catalog.get("entities_v1").prompt == "Find things."
    assert catalog.get("meeting_notes_v1").title == "Meeting notes"


def test_an_operators_broken_template_does_not_fall_back_silently(folder: Path) -> None:
    write(folder, "entities_v1", "{")
    catalog = load_templates([SHIPPED, folder])
    with pytest.raises(TemplateInvalid):
        catalog.get("entities_v1")


def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    assert load_templates([SHIPPED, tmp_path / "nowhere"]).broken == {"nowhere": "this template folder does not exist"}


def test_templates_are_found_by_feature() -> None:
    catalog = shipped_templates()
    assert catalog.for_feature("entities").id == "entities_v1"
    assert catalog.for_feature("summary", "lecture_notes_v1").id == "lecture_notes_v1"
    with pytest.raises(InvalidRequest, match="needs a template_id"):
        catalog.for_feature("summary")
    with pytest.raises(InvalidRequest, match="is made for entities"):
        catalog.for_feature("summary", "entities_v1")
    with pytest.raises(InvalidRequest, match="there is no template"):
        catalog.for_feature("summary", "nothing_v9")
    with pytest.raises(NotFound):
        catalog.get("nothing_v9")
