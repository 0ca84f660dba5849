"""The queued RAG's client, written from product.md alone; and who gets what at ``/``."""

import pytest

from pipelines.fakes.language import ScriptedLanguageModel
from serve_app.api.compat.queued_rag import prefers_json
from serve_app.settings import CompatSettings, Settings
from tests.api.compat.conftest import poll
from tests.api.conftest import BuildWorld, World
from tests.api.jobs.test_jobs import UNKNOWN
from tests.api.retrieval.test_chat import ANSWER
from tests.api.retrieval.test_search import fill

QUESTION = "when is the exam"
WORDS = ["queued", "started", "finished"]


@pytest.fixture
async def asked(build: BuildWorld) -> World:
    """A world with something to ask about in the collection that questions look in."""
    world: World = await build(language_model=ScriptedLanguageModel([ANSWER]))
    await fill(world, collection="default")
    return world


@pytest.mark.parametrize("as_body", [False, True])
async def test_a_question_end_to_end(asked: World, as_body: bool) -> None:
    client = asked.client
    sent = {"json": {"query": QUESTION}} if as_body else {"params": {"query": QUESTION}}

    accepted = await client.post("/chat", **sent)  # type: ignore[arg-type]

    assert accepted.status_code == 202, accepted.text
    job = accepted.json()

    async def fetch() -> object:
        return (await client.get(f"/job-status/{job['job_id']}")).json()

    seen = await poll(asked, job["job_id"], fetch)
    assert {answer["status"] for answer in seen} <= set(WORDS)
    assert all(answer["state"] == answer["status"].upper() for answer in seen)
    result = (await client.get(f"/result/{job['job_id']}")).json()
    assert result["status"] == "finished"
    assert result["result"].startswith("The exam is in June")
    assert result["citations"][0]["quote"] == "the exam is in june"


async def test_there_is_no_result_before_there_is_one(build: BuildWorld) -> None:
    world = await build(run_jobs=False)
    await fill(world, collection="default")
    job = (await world.client.post("/chat", params={"query": QUESTION})).json()

    result = (await world.client.get(f"/result/{job['job_id']}")).json()

    assert (job["status"], job["state"]) == ("queued", "QUEUED")
    assert (result["status"], result["result"], result["citations"]) == ("queued", None, [])
    await world.client.delete(f"/v1/jobs/{job['job_id']}")
    assert (await world.client.get(f"/job-status/{job['job_id']}")).json()["status"] == "stopped"


@pytest.mark.parametrize("sent", [{}, {"params": {"query": "a"}, "json": {"query": "b"}}, {"json": {"q": "a"}}])
async def test_a_question_is_given_once(asked: World, sent: dict[str, object]) -> None:
    refused = await asked.client.post("/chat", **sent)  # type: ignore[arg-type]

    assert (refused.status_code, set(refused.json())) == (422, {"detail"})


async def test_unknown_jobs_and_collections_are_404(asked: World) -> None:
    for path in (f"/job-status/{UNKNOWN}", f"/result/{UNKNOWN}", "/result/x"):
        assert set((await asked.client.get(path)).json()) == {"detail"}
    other = await asked.client.post("/chat", json={"query": QUESTION, "collection": "none"})
    assert (other.status_code, set(other.json())) == (404, {"detail"})


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("application/json", True),
        ("application/json, text/plain, */*", True),
        ("application/*", True),
        ("application/json;q=0.9, text/html;q=0.8", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("*/*", False),
        ("", False),
        ("text/html, application/json", False),
        ("application/json, text/html", True),
        ("application/json;q=0", False),
        ("application/json;q=none", False),
    ],
)
async def test_the_root_answers_json_to_those_who_like_it_better(world: World, accept: str, json: bool) -> None:
    assert prefers_json(accept) is json
    answer = await world.client.get("/", headers={"accept": accept})
    assert (answer.headers["content-type"] == "application/json" and "service" in answer.json()) is json


async def test_the_root_answers_json_to_everybody_where_the_setting_says_so(build: BuildWorld) -> None:
    world = await build(Settings(compat=CompatSettings(root="health")))

    answer = await world.client.get("/", headers={"accept": "text/html"})

    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
