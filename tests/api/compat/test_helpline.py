"""The helpline pipeline's client, written from product.md alone."""

from typing import Any

import httpx
import pytest

from pipelines.fakes.models import FakeEmbedder
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from pipelines.language.templates import TemplateCatalog
from tests.api.compat.conftest import poll
from tests.api.conftest import BuildWorld, World
from tests.api.jobs.test_jobs import UNKNOWN

TEXT = "Good morning, this is Ann. My order 4711 never arrived. Please send it by Friday. Thank you."
INFOS = ("whisper", "translator", "ner", "classifier", "summarizer", "qa")


async def process(client: httpx.AsyncClient, wav: bytes, **fields: str) -> httpx.Response:
    return await client.post("/audio/process", files={"audio": ("call.wav", wav)}, data=fields)


async def result_of(world: World, accepted: httpx.Response) -> Any:
    assert accepted.status_code == 202, accepted.text
    path = accepted.json()["status_endpoint"]

    async def fetch() -> object:
        return (await world.client.get(path)).json()

    seen = await poll(world, accepted.json()["task_id"], fetch)
    assert {answer["status"] for answer in seen} <= {"PENDING", "STARTED", "SUCCESS"}
    return seen[-1]["result"]


async def test_a_call_end_to_end(skilled: World, wav: bytes) -> None:
    result = await result_of(skilled, await process(skilled.client, wav, language="en"))

    assert result["transcript"] == "the exam is in june and who will grade it"
    assert result["audio_info"]["filename"] == "call.wav"
    assert result["audio_info"]["duration_seconds"] == pytest.approx(4.5)
    assert result["translation"] is not None
    assert isinstance(result["entities"], dict)
    assert result["classification"]["main_category"] in skilled.services.settings.compat.labels
    assert 0 <= result["qa_scores"]["overall_quality"] <= 1
    assert isinstance(result["summary"], str)


async def test_a_call_without_insights_is_only_transcribed(skilled: World, wav: bytes) -> None:
    accepted = await process(skilled.client, wav, include_insights="False", include_translation="false")
    result = await result_of(skilled, accepted)

    assert result["transcript"]
    left_out = ("translation", "entities", "classification", "qa_scores", "summary")
    assert {name: result[name] for name in left_out} == dict.fromkeys(left_out)


async def test_without_a_language_model_nothing_is_translated_and_the_rest_says_how_it_was_made(
    build: BuildWorld, templates: TemplateCatalog, wav: bytes
) -> None:
    ports = LanguagePorts(templates=templates, analyst=ExtractiveAnalyst(FakeEmbedder()))
    world = await build(language=ports)
    result = await result_of(world, await process(world.client, wav, language="auto"))

    assert result["translation"] is None
    assert result["classification"]
    assert any("extractive" in entry for entry in result["degraded"])
    refused = await world.client.post("/translate", json={"text": TEXT})
    assert (refused.status_code, set(refused.json())) == (422, {"detail"})
    assert (await world.client.get("/translator/info")).json()["loaded"] is False


async def test_a_task_is_revoked_once(idle: World, wav: bytes) -> None:
    task = (await process(idle.client, wav)).json()
    assert task["status"] == "PENDING"
    assert (await idle.client.get("/audio/queue/status")).json()["queue_length"] == 1

    revoked = await idle.client.delete(task["status_endpoint"])
    again = await idle.client.delete(task["status_endpoint"])

    assert (revoked.status_code, revoked.json()["status"]) == (200, "REVOKED")
    assert (again.status_code, set(again.json())) == (409, {"detail"})
    assert (await idle.client.get(f"/audio/task/{UNKNOWN}")).status_code == 404


async def test_a_recording_is_transcribed_at_once(world: World, wav: bytes) -> None:
    answer = await world.client.post("/whisper/transcribe", files={"audio": ("a.wav", wav)}, data={"language": "auto"})

    assert answer.status_code == 200, answer.text
    heard = answer.json()
    assert (heard["transcript"], heard["language"]) == ("the exam is in june and who will grade it", "en")
    assert heard["segments"][0]["text"] == "the exam is in june"
    assert heard["duration"] == pytest.approx(4.5)
    assert world.stored == []
    wrong = await world.client.post("/whisper/transcribe", files={"file": ("a.wav", wav)})
    assert (wrong.status_code, set(wrong.json())) == (422, {"detail"})


async def test_every_model_alone(skilled: World) -> None:
    async def ask(path: str, **body: Any) -> Any:
        answer = await skilled.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["processing_time"] >= 0
        return answer.json()

    assert (await ask("/translate", text=TEXT, source_language="en", target_language="sw"))["target_language"] == "sw"
    assert isinstance((await ask("/ner/extract", text=TEXT))["entity_details"], list)
    assert (await ask("/classifier/classify", text=TEXT))["main_category"]
    assert isinstance((await ask("/summarizer/summarize", text=TEXT))["summary"], str)
    judged = await ask("/qa/evaluate", transcript=TEXT, threshold=0.0)
    assert all(entry["passed"] for entries in judged["evaluations"].values() for entry in entries)
    assert {"greeting", "closing"} <= set(judged["evaluations"])


@pytest.mark.parametrize("name", INFOS)
async def test_each_of_the_six_models_says_what_it_is(skilled: World, name: str) -> None:
    info = (await skilled.client.get(f"/{name}/info")).json()

    assert info["loaded"] is True
    assert info["model"] == "scripted"


@pytest.mark.parametrize("path", ["/ner/extract", "/classifier/classify", "/summarizer/summarize", "/translate"])
async def test_a_text_that_is_none_is_refused_in_detail(skilled: World, path: str) -> None:
    for body in ({}, {"text": ""}, {"text": "  "}, {"text": "a", "colour": "blue"}, {"text": 7}):
        refused = await skilled.client.post(path, json=body)
        assert (refused.status_code, set(refused.json())) == (422, {"detail"}), body


async def test_long_texts_are_taken_as_by_the_text_skills(skilled: World) -> None:
    text = "the exam is in june. " * 60_000

    refused = await skilled.client.post("/ner/extract", json={"text": text})

    assert refused.status_code == 413
    assert "more than 1000000" in refused.json()["detail"]


async def test_the_two_health_reports_are_there(world: World) -> None:
    assert (await world.client.get("/health/detailed")).json()["status"] in ("ok", "degraded")
    assert (await world.client.get("/health/models")).json()["models"]
