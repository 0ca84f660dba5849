"""A transcript is corrected, and what was made of it follows or says that it is old."""

import asyncio
from typing import Any

import httpx
import pytest

from pipelines.fakes.models import FakeEmbedder
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from pipelines.language.templates import load_templates
from serve_app.ports import SHIPPED_TEMPLATES
from tests.api.conftest import BuildWorld, World
from tests.api.jobs.test_jobs import UNKNOWN, ended, submitted

EVERYTHING = {"features": "raw_transcript,diarization,word_timestamps,entities,index", "collection": "talks"}


@pytest.fixture
async def talk(build: BuildWorld, wav: bytes) -> tuple[World, Any]:
    """A job that has succeeded, in a collection, with entities."""
    templates = await asyncio.to_thread(load_templates, [SHIPPED_TEMPLATES])
    world = await build(language=LanguagePorts(templates=templates, analyst=ExtractiveAnalyst(FakeEmbedder())))
    return world, await ended(world.client, await submitted(world.client, wav, **EVERYTHING))


async def correct(world: World, job: Any, revision: str = '"1"', **change: Any) -> httpx.Response:
    body = {"segments": [{"id": 0, **change}]}
    return await world.client.patch(job["links"]["transcript"], json=body, headers={"if-match": revision})


async def followed(world: World) -> Any:
    """Wait for the job that follows the correction, and return it."""
    [job] = [each for each in (await world.client.get("/v1/jobs")).json()["data"] if each["kind"] == "revision"]
    done = await ended(world.client, job)
    assert done["status"] == "succeeded"
    return done


async def hits(world: World, query: str) -> list[Any]:
    answer = await world.client.post("/v1/search", json={"query": query, "collections": ["talks"], "mode": "sparse"})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["hits"])


async def test_a_correction_is_a_revision_and_search_finds_the_new_word(talk: tuple[World, Any]) -> None:
    world, job = talk
    first = await world.client.get(job["links"]["transcript"])
    assert first.headers["etag"] == '"1"'
    answer = await correct(world, job, text="the exam is in july")

    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    assert answer.json()["segments"][0]["text"] == "the exam is in july"
    words = answer.json()["segments"][0]["words"]
    assert [word["aligned"] for word in words] == [True, True, True, True, False]
    assert words[:4] == first.json()["segments"][0]["words"][:4]

    await followed(world)
    assert {hit["revision"] for hit in await hits(world, "july")} == {2}
    assert [hit for hit in await hits(world, "june") if "june" in hit["text"]] == []
    subtitles = await world.client.get(job["links"]["transcript"], params={"format": "srt"})
    assert ("july" in subtitles.text, subtitles.headers["etag"]) == (True, '"2"')


async def test_what_was_made_of_an_older_revision_says_so_until_it_is_made_again(talk: tuple[World, Any]) -> None:
    world, job = talk
    assert (job["revision"], job["stale"]) == (1, [])
    await correct(world, job, text="the exam is in paris, says Mary")
    old = (await world.client.get(job["links"]["self"])).json()
    assert (old["revision"], old["stale"]) == (2, ["entities"])
    assert old["results"]["raw_transcript"].startswith("the exam is in paris")

    again = await world.client.post(f"{job['links']['self']}/remake")
    assert (again.status_code, again.json()["kind"]) == (202, "revision")
    done = await ended(world.client, again.json())
    assert (done["status"], done["results"]["revision"]["revision"]) == ("succeeded", 2)
    new = (await world.client.get(job["links"]["self"])).json()
    assert (new["stale"], new["metrics"]) == ([], job["metrics"])
    nothing = await world.client.post(f"{job['links']['self']}/remake")
    assert (nothing.status_code, nothing.json()["error"]["code"]) == (409, "conflict")


async def test_of_two_editors_one_is_told_of_the_other(talk: tuple[World, Any]) -> None:
    world, job = talk
    answers = await asyncio.gather(*(correct(world, job, text=f"version {number}") for number in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    late = next(answer for answer in answers if answer.status_code == 412)
    assert late.json()["error"]["code"] == "revision_changed"
    kept = (await world.client.get(f"{job['links']['self']}/revisions")).json()["data"]
    assert [(entry["revision"], entry["origin"]) for entry in kept] == [(2, "correction"), (1, "job")]
    first = await world.client.get(job["links"]["transcript"], params={"revision": 1})
    assert first.json()["segments"][0]["text"] == "the exam is in june"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 428, "revision_required"),
        ({"if-match": "*"}, 422, "invalid_field"),
        ({"if-match": '"7"'}, 412, "revision_changed"),
    ],
)
async def test_a_correction_says_what_it_was_made_from(
    talk: tuple[World, Any], headers: dict[str, str], status: int, code: str
) -> None:
    world, job = talk
    body = {"segments": [{"id": 0, "text": "x"}]}
    answer = await world.client.patch(job["links"]["transcript"], json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    missing = await world.client.get(job["links"]["transcript"], params={"revision": 5})
    assert missing.status_code == 404


async def test_a_correction_that_changes_nothing_makes_no_revision(talk: tuple[World, Any]) -> None:
    world, job = talk
    answer = await correct(world, job, text="the exam is in june")
    assert (answer.status_code, answer.headers["etag"]) == (200, '"1"')


async def test_a_running_job_cannot_be_corrected(idle: World, wav: bytes) -> None:
    job = await submitted(idle.client, wav)
    answer = await correct(idle, job, text="x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "job_running")
    unknown = await idle.client.patch(
        f"/v1/jobs/{UNKNOWN}/transcript", json={"segments": [{"id": 0, "text": "x"}]}, headers={"if-match": '"1"'}
    )
    assert unknown.status_code == 404


async def test_speakers_get_names_that_search_filters_know(talk: tuple[World, Any]) -> None:
    world, job = talk
    path = f"{job['links']['self']}/speakers"
    listed = await world.client.get(path)
    assert [entry["name"] for entry in listed.json()["data"]] == ["SPEAKER_00", "SPEAKER_01"]
    named = await world.client.patch(
        path, json={"rename": {"SPEAKER_00": "Diane"}}, headers={"if-match": listed.headers["etag"]}
    )
    assert [entry["name"] for entry in named.json()["data"]] == ["Diane", "SPEAKER_01"]

    await followed(world)
    body = {"query": "exam", "collections": ["talks"], "filters": {"speakers": ["Diane"]}}
    answer = (await world.client.post("/v1/search", json=body)).json()
    assert [hit["speakers"] for hit in answer["hits"]] == [["Diane", "SPEAKER_01"]]
    shown = (await world.client.get(job["links"]["self"])).json()
    assert shown["results"]["speakers"] == ["Diane", "SPEAKER_01"]
    unknown = await world.client.patch(path, json={"rename": {"Nobody": "x"}}, headers={"if-match": '"2"'})
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (404, "rename")


async def test_an_answer_that_quotes_an_older_revision_is_stale(talk: tuple[World, Any]) -> None:
    world, job = talk
    question = {"question": "when is the exam", "collections": ["talks"], "background": True}
    asked = (await world.client.post("/v1/chat", json=question)).json()
    answer = await ended(world.client, asked)
    assert answer["results"]["chat"]["citations"][0]["revision"] == 1
    assert answer["stale"] == []
    await correct(world, job, text="the exam is in july")
    assert (await world.client.get(asked["links"]["self"])).json()["stale"] == ["chat"]


async def test_erasing_takes_the_revisions_and_what_follows_them_along(talk: tuple[World, Any]) -> None:
    world, job = talk
    await correct(world, job, text="the exam is in july")
    assert (await world.client.delete(job["links"]["self"], params={"erase": "true"})).status_code == 204
    assert world.stored == []
    assert await hits(world, "july") == []
    assert (await world.client.get("/v1/jobs")).json()["data"] == []
