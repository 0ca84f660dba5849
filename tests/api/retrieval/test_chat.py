import asyncio
import json
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from pipelines.errors import ModelUnavailable, PassageStoreUnavailable
from pipelines.fakes.language import ScriptedAnswer, ScriptedLanguageModel
from serve_app.settings import Settings
from tests.api.conftest import BuildWorld, World, listening
from tests.api.jobs.test_jobs import ended
from tests.api.retrieval.test_search import FailingStore, fill

QUESTION = "when is the exam"
ANSWER = 'The exam is in June [1: "the exam is in june"].'


@pytest.fixture
async def talking(build: BuildWorld) -> World:
    """A world whose language model has one answer."""
    world: World = await build(language_model=ScriptedLanguageModel([ANSWER]))
    await fill(world)
    return world


async def ask(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/chat", json={"question": QUESTION, "collection": "bio", **fields})


def events_of(text: str) -> list[tuple[str, Any]]:
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    parsed = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
    return [(fields["event"], json.loads(fields["data"])) for fields in parsed]


async def test_one_body(talking: World) -> None:
    response = await ask(talking.client)

    assert response.status_code == 200, response.text
    body = response.json()
    assert "[1]" in body["answer"]
    [citation] = body["citations"]
    assert set(citation) == {
        "n", "job_id", "collection", "passage_id", "recording", "start_s", "end_s", "speaker", "quote", "audio",
        "revision",
    }  # fmt: skip
    assert citation["audio"].startswith("/v1/jobs/job-1/audio#t=0.0,")
    assert (body["grounded"], body["removed_citations"], body["degraded"]) == (True, 0, [])
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    assert body["versions"]["llm"]


async def test_a_stream_has_sources_first_and_done_last(talking: World) -> None:
    response = await ask(talking.client, stream=True)

    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_of(response.text)
    names = [name for name, _ in events]
    assert (names[0], names[-2:]) == ("sources", ["citations", "done"])
    assert set(names[1:-2]) == {"delta"}
    assert events[0][1]["sources"][0]["n"] == 1
    assert (
        "".join(data["text"] for name, data in events if name == "delta")
        == (await ask(talking.client)).json()["answer"]
    )


async def test_without_a_model_the_answer_is_extractive_and_says_so(world: World) -> None:
    await fill(world)

    body = (await ask(world.client, question="when is the exam in june")).json()

    assert body["degraded"][0]["used"] == "extractive"
    assert body["citations"][0]["quote"]


async def test_nothing_found_is_said_not_invented(talking: World) -> None:
    body = (await ask(talking.client, question="zebra")).json()

    assert (body["citations"], body["grounded"]) == ([], False)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"question": None}, None),
        ({"question": ""}, "question"),
        ({"question": "x" * 4_001}, "question"),
        ({"question": " \n"}, "question"),
        ({"question": None, "messages": [{"role": "user", "content": " \n"}]}, "messages"),
        ({"question": None, "messages": [{"role": "user", "content": "x" * 4_001}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}]}, None),
        ({"question": None, "messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"question": None, "messages": [{"role": "system", "content": "x"}]}, "messages.0.role"),
        ({"question": None, "messages": []}, None),
        ({"collection": None}, None),
        ({"collection": "../x"}, "collection"),
        ({"top_k": 0}, "top_k"),
        ({"sampling": {"temperature": 9}}, "sampling.temperature"),
        ({"stream": "perhaps"}, "stream"),
        ({"background": "perhaps"}, "background"),
        ({"priority": "high"}, "priority"),
        ({"unknown": 1}, "unknown"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_asked_is_named(
    talking: World, fields: dict[str, Any], param: str | None, stream: bool
) -> None:
    response = await ask(talking.client, **{"stream": stream, **fields})

    assert response.status_code == 422, response.text
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize(
    ("allowed", "characters", "param"),
    [(10, 11, "question"), (6_000, 5_000, None), (6_000, 6_001, "question"), (20_000, 19_000, None),
     (20_000, 20_001, "question")],
)  # fmt: skip
async def test_how_long_a_question_may_be_is_one_setting(
    build: BuildWorld, allowed: int, characters: int, param: str | None, background: bool
) -> None:
    world = await build(Settings(limits={"query_characters": allowed}))
    await fill(world)
    question = f"{QUESTION} ".ljust(characters, "x")

    response = await ask(world.client, question=question, background=background)
    as_messages = await world.client.post(
        "/v1/chat", json={"messages": [{"role": "user", "content": question}], "collection": "bio"}
    )

    if param is None:
        assert (response.status_code, as_messages.status_code) == (202 if background else 200, 200), response.text
    else:
        assert (response.status_code, response.json()["error"]["param"]) == (422, param)
        assert as_messages.status_code == 422
        assert as_messages.json()["error"]["param"].startswith("messages")


def test_no_setting_allows_a_longer_question_than_is_read() -> None:
    with pytest.raises(ValidationError, match="query_characters"):
        Settings(limits={"query_characters": 20_001})


@pytest.mark.parametrize("asked", [{"question": QUESTION}, {"messages": [{"role": "user", "content": QUESTION}]}])
async def test_a_question_without_room_is_named_as_it_was_sent(build: BuildWorld, asked: dict[str, Any]) -> None:
    world = await build(language_model=ScriptedLanguageModel([ANSWER], context_tokens=100))
    await fill(world)

    response = await world.client.post("/v1/chat", json={**asked, "collection": "bio"})

    [name] = asked
    assert (response.status_code, response.json()["error"]["param"]) == (422, name)


@pytest.mark.parametrize("background", [False, True])
async def test_the_operator_says_how_tokens_are_drawn(build: BuildWorld, background: bool) -> None:
    model = ScriptedLanguageModel([ANSWER])
    settings = Settings(language_model={"temperature": 0.7, "top_p": 0.8, "max_tokens": 33})
    world = await build(settings, language_model=model)
    await fill(world)

    response = await ask(world.client, background=background)
    if background:
        await ended(world.client, response.json())

    drawn = model.calls[0].sampling
    assert (drawn.temperature, drawn.top_p, drawn.max_tokens) == (0.7, 0.8, 33)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_breaks_before_the_first_event_has_its_status(build: BuildWorld, stream: bool) -> None:
    world = await build(passages=FailingStore(PassageStoreUnavailable("down")))

    response = await ask(world.client, stream=stream)

    assert (response.status_code, response.json()["error"]["code"]) == (503, "passage_store_unavailable")
    unknown = await ask((await build()).client, stream=stream)
    assert unknown.status_code == 404


class BreakingModel(ScriptedLanguageModel):
    """Breaks after the first words."""

    async def stream(self, messages: Any, *, sampling: Any) -> Any:
        async for chunk in super().stream(messages, sampling=sampling):
            yield chunk
            raise ModelUnavailable("the replica died")


async def test_what_breaks_later_is_the_last_event(build: BuildWorld) -> None:
    world = await build(language_model=BreakingModel([ANSWER]))
    await fill(world)

    *_, (name, data) = events_of((await ask(world.client, stream=True)).text)
    whole = await ask(world.client)

    assert (name, data["error"]["code"]) == ("error", "model_unavailable")
    assert (whole.status_code, whole.json()["error"]["code"]) == (503, "model_unavailable")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_stops_the_generation(build: BuildWorld, stream: bool) -> None:
    waiting = ScriptedAnswer(text=ANSWER, gate=asyncio.Event())
    model = ScriptedLanguageModel([waiting])
    world = await build(language_model=model)
    await fill(world)
    stopped, reached = asyncio.Event(), asyncio.Event()
    original = model.stream

    async def watched(*args: Any, **kwargs: Any) -> Any:
        reached.set()
        try:
            async for chunk in original(*args, **kwargs):
                yield chunk
        finally:
            stopped.set()

    model.stream = watched  # type: ignore[method-assign]
    async with listening(world.app) as address, httpx.AsyncClient(base_url=address) as client:
        request = asyncio.create_task(ask(client, stream=stream))
        async with asyncio.timeout(10):
            await reached.wait()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        async with asyncio.timeout(1):
            await stopped.wait()
