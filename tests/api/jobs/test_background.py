"""Skills, chats and reindexings as jobs: acknowledged, read, limited, repeated, cancelled, retried, erased."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Embedding
from pipelines.errors import ModelError
from pipelines.fakes.jobs import InMemoryJobQueue
from pipelines.fakes.language import ScriptedAnswer, ScriptedLanguageModel
from pipelines.fakes.models import FakeEmbedder
from pipelines.jobs.submit import QueueLimits
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from pipelines.language.templates import load_templates
from serve_app.settings import ALL_SCOPES, SHIPPED_FOLDER, Settings
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import KEYED
from tests.api.jobs.test_jobs import ended
from tests.api.retrieval.test_chat import ANSWER
from tests.api.retrieval.test_search import fill, search

Asked = tuple[str, dict[str, Any]]
TEXT = "good morning this is ann i call about order 4711 it never arrived please send it by friday thank you"
SUMMARY = "/v1/text/summarize", {"text": TEXT, "template_id": "meeting_notes_v1"}
CHAT = "/v1/chat", {"question": "when is the exam", "collection": "bio"}
REINDEX: Asked = ("/v1/collections/bio/reindex", {})
EVERY = [pytest.param(asked, id=asked[0]) for asked in (SUMMARY, CHAT, REINDEX)]


class OtherEmbedder(FakeEmbedder):
    """The embedder that is loaded now; the collection was made with another one."""

    vector_size = 32

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        self.entered.set()
        await self.gate.wait()
        return await super().embed_passages(texts)

    async def info(self) -> EmbedderInfo:
        return replace(await super().info(), name="other")


@pytest.fixture(scope="module")
def language() -> LanguagePorts:
    templates = load_templates([SHIPPED_FOLDER / "configs" / "templates"])
    return LanguagePorts(templates=templates, analyst=ExtractiveAnalyst(FakeEmbedder()))


@pytest.fixture
async def working(build: BuildWorld, language: LanguagePorts) -> World:
    """A world that runs jobs, with a model that knows one answer and a collection to ask about."""
    world: World = await build(language=language, language_model=ScriptedLanguageModel([ANSWER]))
    await fill(world)
    return world


@pytest.fixture
async def waiting(build: BuildWorld, language: LanguagePorts) -> World:
    """A world in which jobs wait."""
    world: World = await build(language=language, run_jobs=False)
    await fill(world)
    return world


async def ask(client: httpx.AsyncClient, asked: Asked, **more: Any) -> httpx.Response:
    path, fields = asked
    headers = {"idempotency-key": more.pop("key")} if "key" in more else {}
    background = {} if asked[0] == REINDEX[0] else {"background": True}
    return await client.post(path, json={**fields, **background, **more}, headers=headers)


async def accepted(client: httpx.AsyncClient, asked: Asked, **more: Any) -> Any:
    response = await ask(client, asked, **more)
    assert response.status_code == 202, response.text
    assert response.headers["location"] == response.json()["links"]["self"]
    return response.json()


class TestResults:
    async def test_a_summary_is_what_a_client_that_waits_gets(self, working: World) -> None:
        at_once = (await working.client.post(SUMMARY[0], json=SUMMARY[1])).json()

        job = await ended(working.client, await accepted(working.client, SUMMARY))

        assert (job["status"], job["kind"], job["features"]) == ("succeeded", "text", ["summary"])
        assert job["results"]["summarize"] == at_once["result"]
        assert job["versions"]["llm"] == {"summarize": at_once["versions"]}
        assert job["degraded"] == at_once["degraded"] != []
        assert (job["template_id"], job["language"]) == ("meeting_notes_v1", "en")
        assert set(job["metrics"]["stage_s"]) == {"understand"}

    @pytest.mark.parametrize("skill", ["enhance", "entities", "evaluate"])
    async def test_so_is_every_other_skill(self, working: World, skill: str) -> None:
        asked = f"/v1/text/{skill}", {"segments": [{"text": TEXT, "speaker": "Ann", "start_s": 1, "end_s": 9}]}
        at_once = (await working.client.post(asked[0], json=asked[1])).json()

        job = await ended(working.client, await accepted(working.client, asked))

        assert job["results"][skill] == at_once["result"]
        assert job["results"]["speakers"] == ["Ann"]

    async def test_a_chat_is_what_a_client_that_waits_gets(self, working: World) -> None:
        at_once = (await working.client.post(CHAT[0], json=CHAT[1])).json()

        job = await ended(working.client, await accepted(working.client, CHAT))

        versions, degraded = at_once.pop("versions"), at_once.pop("degraded")
        assert job["results"]["chat"] == at_once
        assert job["results"]["chat"]["citations"][0]["audio"].startswith("/v1/jobs/job-1/audio#t=0.0,")
        assert {**versions, "pipeline": job["versions"]["pipeline"]} == job["versions"]
        assert (job["degraded"], job["collection"], job["kind"]) == (degraded, "bio", "chat")

    @pytest.mark.parametrize("asked", EVERY)
    async def test_what_makes_no_sense_is_null_and_has_no_address(self, working: World, asked: Asked) -> None:
        job = await ended(working.client, await accepted(working.client, asked))

        assert (job["recording"], job["links"]["transcript"], job["links"]["audio"]) == (None, None, None)
        assert job["results"]["raw_transcript"] is None
        assert (job["metrics"]["rtf"], job["metrics"]["dropped_spans"]) == (None, [])
        for suffix in ("audio", "transcript"):
            response = await working.client.get(f"{job['links']['self']}/{suffix}")
            assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")

    async def test_they_are_listed_with_recordings(self, waiting: World) -> None:
        ids = [(await accepted(waiting.client, asked))["id"] for asked in (SUMMARY, CHAT, REINDEX)]

        listed = (await waiting.client.get("/v1/jobs")).json()["data"]
        of_bio = (await waiting.client.get("/v1/jobs", params={"collection": "bio"})).json()["data"]

        assert [job["id"] for job in listed] == ids[::-1]
        assert [job["kind"] for job in of_bio] == ["reindex", "chat"]

    async def test_several_collections(self, working: World) -> None:
        await fill(working, collection="chem")
        asked = CHAT[0], {"question": "when is the exam", "collections": ["bio", "chem"]}

        job = await ended(working.client, await accepted(working.client, asked))

        assert (job["status"], job["collection"]) == ("succeeded", None)
        assert {source["collection"] for source in job["results"]["chat"]["sources"]} == {"bio", "chem"}

    async def test_nothing_said_or_asked_is_logged_or_listed(self, working: World, logged: list[Any]) -> None:
        for asked in (SUMMARY, CHAT):
            await ended(working.client, await accepted(working.client, asked))

        listed = (await working.client.get("/v1/jobs")).text
        for words in ("4711", "when is the exam"):
            assert words not in listed
            assert words not in json.dumps(logged, default=repr)


class TestReindex:
    @pytest.fixture
    async def moving(self, build: BuildWorld) -> AsyncIterator[tuple[World, OtherEmbedder]]:
        """A world whose embedder is not the one that made the collection."""
        embedder = OtherEmbedder()
        world: World = await build(embedder=embedder)
        await fill(world)
        yield world, embedder
        embedder.gate.set()

    async def test_a_collection_of_another_model_is_refused_until_it_was_moved(
        self, moving: tuple[World, OtherEmbedder]
    ) -> None:
        world, _ = moving
        refused = await search(world.client)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "embedder_mismatch")
        assert "bag-of-words, not of other" in refused.json()["error"]["message"]

        job = await ended(world.client, await accepted(world.client, REINDEX))

        assert (job["status"], job["collection"]) == ("succeeded", "bio")
        assert job["results"]["reindex"] == {"collection": "bio", "passages": 3, "embedder": "other"}
        assert job["versions"]["embedder"]["model"] == "other"
        assert (await search(world.client)).json()["hits"]
        assert (await world.client.get("/v1/collections/bio")).json()["embedder"] == "other"

    async def test_only_one_moves_a_collection_at_a_time(self, moving: tuple[World, OtherEmbedder]) -> None:
        world, embedder = moving
        embedder.gate.clear()
        job = await accepted(world.client, REINDEX, key="k")
        async with asyncio.timeout(10):
            await embedder.entered.wait()

        second = await ask(world.client, REINDEX)
        assert (second.status_code, second.json()["error"]["code"]) == (409, "conflict")
        assert job["id"] in second.json()["error"]["message"]
        assert (await accepted(world.client, REINDEX, key="k"))["id"] == job["id"]
        embedder.gate.set()
        await ended(world.client, job)
        assert (await ask(world.client, REINDEX)).status_code == 202

    @pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e", "a%2fb", "x" * 150, "'", "%00"])
    async def test_unknown_and_hostile_names(self, world: World, name: str) -> None:
        response = await world.client.post(f"/v1/collections/{name}/reindex")

        assert response.status_code in (404, 405), response.text
        assert world.stored == []

    async def test_another_tenants_collection_does_not_exist(self, build: BuildWorld) -> None:
        world = await build(KEYED, key="key-b")
        await fill(world, tenant="tenant-a")

        assert (await ask(world.client, REINDEX)).status_code == 404

    async def test_no_body_is_needed_and_an_unknown_field_is_named(self, waiting: World) -> None:
        unknown = await waiting.client.post(REINDEX[0], json={"embedder": "bge-m3"})
        assert (unknown.status_code, unknown.json()["error"]["param"]) == (422, "embedder")
        assert (await waiting.client.post(REINDEX[0])).json()["priority"] == "normal"


class TestLimits:
    @pytest.mark.parametrize(
        ("asked", "more", "param"),
        [
            (SUMMARY, {"template_id": None}, "template_id"),
            (SUMMARY, {"template_id": "entities_v1"}, "template_id"),
            (SUMMARY, {"text": " "}, "text"),
            (SUMMARY, {"priority": "urgent"}, "priority"),
            (("/v1/text/classify", {"text": TEXT}), {"labels": []}, "labels"),
            (("/v1/text/translate", {"text": TEXT}), {"target_language": "klingon"}, "target_language"),
            (CHAT, {"question": " "}, "question"),
            (CHAT, {"question": None, "messages": [{"role": "user", "content": " "}]}, "messages"),
            (CHAT, {"stream": True}, "background"),
            (CHAT, {"top_k": 0}, "top_k"),
            (CHAT, {"key": "ä".encode()}, "Idempotency-Key"),
        ],
    )
    async def test_what_cannot_be_done_is_no_job(
        self, waiting: World, asked: Asked, more: dict[str, Any], param: str
    ) -> None:
        response = await ask(waiting.client, asked, **more)

        assert (response.status_code, response.json()["error"]["param"]) == (422, param), response.text
        assert waiting.stored == []
        assert (await waiting.client.get("/v1/jobs")).json()["data"] == []

    async def test_an_unknown_collection_is_no_job(self, waiting: World) -> None:
        response = await ask(waiting.client, CHAT, collection="nothing")

        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
        assert waiting.stored == []

    @pytest.mark.parametrize("asked", EVERY)
    async def test_a_full_queue_refuses_and_keeps_nothing(
        self, build: BuildWorld, language: LanguagePorts, asked: Asked
    ) -> None:
        world = await build(language=language, jobs=InMemoryJobQueue(limits=QueueLimits(per_tenant=1)))
        await fill(world)
        await accepted(world.client, CHAT)
        stored = world.stored

        response = await ask(world.client, asked)

        assert (response.status_code, response.json()["error"]["code"]) == (429, "queue_full")
        assert int(response.headers["retry-after"]) >= 1
        assert world.stored == stored

    async def test_priorities(self, waiting: World) -> None:
        for priority in ("low", "normal", "high"):
            await accepted(waiting.client, SUMMARY, priority=priority)

        listed = (await waiting.client.get("/v1/jobs")).json()["data"]
        assert [(job["priority"], job["queue_position"]) for job in listed] == [("high", 1), ("normal", 2), ("low", 3)]

    async def test_a_job_needs_a_key_that_may_make_jobs(self, build: BuildWorld, language: LanguagePorts) -> None:
        keys = [key.model_copy(update={"scopes": tuple({*ALL_SCOPES} - {"jobs:write"})}) for key in KEYED.keys]
        world = await build(Settings(profile="gpu", keys=tuple(keys)), key="key-a", language=language)
        await fill(world, tenant="tenant-a")

        for asked in (SUMMARY, CHAT, REINDEX):
            response = await ask(world.client, asked)
            assert (response.status_code, response.json()["error"]["code"]) == (403, "insufficient_scope")
        assert (await world.client.post(SUMMARY[0], json=SUMMARY[1])).status_code == 200


class TestIdempotency:
    @pytest.mark.parametrize("asked", EVERY)
    async def test_a_repeat_finds_the_same_job_and_leaves_no_second_copy(self, waiting: World, asked: Asked) -> None:
        first = await accepted(waiting.client, asked, key="k")
        stored = waiting.stored
        again = await accepted(waiting.client, asked, key="k")

        assert (again["id"], waiting.stored) == (first["id"], stored)
        assert len((await waiting.client.get("/v1/jobs")).json()["data"]) == 1

    async def test_another_request_under_the_key_conflicts(self, waiting: World) -> None:
        await accepted(waiting.client, CHAT, key="k")

        for asked, more in ((CHAT, {"question": "who"}), (SUMMARY, {}), (REINDEX, {}), (CHAT, {"priority": "high"})):
            response = await ask(waiting.client, asked, key="k", **more)
            assert (response.status_code, response.json()["error"]["code"]) == (409, "idempotency_conflict")
        assert len(waiting.stored) == 1

    async def test_keys_of_recordings_and_requests_are_the_same_keys(self, waiting: World, wav: bytes) -> None:
        await accepted(waiting.client, CHAT, key="k")

        response = await waiting.client.post(
            "/v1/jobs", files={"file": ("a.wav", wav)}, headers={"idempotency-key": "k"}
        )

        assert response.json()["error"]["code"] == "idempotency_conflict"


class TestLifecycle:
    @pytest.mark.parametrize("asked", EVERY)
    async def test_cancelling_and_erasing(self, waiting: World, asked: Asked) -> None:
        job = await accepted(waiting.client, asked)
        assert waiting.stored

        cancelled = await waiting.client.delete(job["links"]["self"])
        erased = await waiting.client.delete(job["links"]["self"], params={"erase": "true"})

        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        assert (erased.status_code, waiting.stored) == (204, [])
        assert (await waiting.client.get(job["links"]["self"])).status_code == 404
        assert (await waiting.client.get("/v1/collections/bio")).json()["passages"] == 3

    async def test_erasing_a_finished_chat_leaves_nothing(self, working: World) -> None:
        job = await ended(working.client, await accepted(working.client, CHAT))

        assert (await working.client.delete(job["links"]["self"], params={"erase": "true"})).status_code == 204
        assert working.stored == []

    async def test_cancelling_a_running_chat_stops_the_generation(self, build: BuildWorld) -> None:
        stopped, reached = asyncio.Event(), asyncio.Event()

        class Slow(ScriptedLanguageModel):
            async def stream(self, messages: Any, *, sampling: Any) -> Any:
                reached.set()
                async for chunk in super().stream(messages, sampling=sampling):
                    yield chunk

        model = Slow([ScriptedAnswer(gate=asyncio.Event())])
        model.on_closed = stopped.set
        world = await build(language_model=model)
        await fill(world)
        job = await accepted(world.client, CHAT)
        async with asyncio.timeout(10):
            await reached.wait()

        assert (await world.client.delete(job["links"]["self"])).status_code == 200

        async with asyncio.timeout(1):
            await stopped.wait()
        assert (await world.client.get(job["links"]["self"])).json()["status"] == "cancelled"

    async def test_a_failed_chat_says_why_and_goes_on_when_told_to(self, build: BuildWorld) -> None:
        class Recovering(ScriptedLanguageModel):
            breaks = True

            async def stream(self, messages: Any, *, sampling: Any) -> Any:
                async for chunk in super().stream(messages, sampling=sampling):
                    yield chunk
                    if self.breaks:
                        raise ModelError("it broke off")

        model = Recovering([ANSWER])
        world = await build(language_model=model)
        await fill(world)
        job = await ended(world.client, await accepted(world.client, CHAT))
        assert (job["status"], job["error"]["code"], job["error"]["stage"]) == ("failed", "model_error", "answer")
        assert "chat" not in job["results"]

        model.breaks = False
        retried = await world.client.post(f"{job['links']['self']}/retry")
        assert (retried.status_code, retried.json()["id"]) == (202, job["id"])
        done = await ended(world.client, job)
        assert (done["status"], done["attempts"]) == ("succeeded", 2)
        assert done["results"]["chat"]["grounded"]

    async def test_another_tenants_chat_is_not_found(self, build: BuildWorld) -> None:
        world = await build(KEYED, key="key-a", run_jobs=False)
        await fill(world, tenant="tenant-a")
        job = await accepted(world.client, CHAT)

        async with world.client_for("key-b") as other:
            assert (await other.get(job["links"]["self"])).status_code == 404
            assert (await other.get("/v1/jobs")).json()["data"] == []
