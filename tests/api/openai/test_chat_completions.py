"""OpenAI's chat completions with OpenAI's own client: the language model as it is, and collections."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from pipelines.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelUnavailable,
    Overloaded,
    PassageStoreUnavailable,
)
from pipelines.fakes.language import ScriptedAnswer, ScriptedLanguageModel
from pipelines.language.engines.openai import Endpoint, OpenAILanguageModel
from serve_app.settings import OpenAiSettings, Settings
from tests.api.conftest import BuildWorld, World, listening
from tests.api.edge.test_authentication import KEYED
from tests.api.retrieval.test_chat import ANSWER
from tests.api.retrieval.test_search import FailingStore, fill
from tests.contracts.language_model_server import ChatEndpoint, serving

Client = Any
"""AsyncOpenAI, whose overloads want literal types throughout."""
QUESTION: Any = [{"role": "user", "content": "when is the exam"}]
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["word"],
    "properties": {"word": {"type": "string", "maxLength": 20}},
}
TOOL: Any = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"what": {"type": "string"}}}},
}


@asynccontextmanager
async def client_of(world: World, key: str = "unused") -> AsyncIterator[Client]:
    async with (
        listening(world.app) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0) as client,
    ):
        yield client


async def with_model(build: BuildWorld, *script: Any, **more: Any) -> tuple[World, ScriptedLanguageModel]:
    model = ScriptedLanguageModel(script)
    world: World = await build(language_model=model, chat_relay=model, **more)
    return world, model


async def test_the_model_answers(build: BuildWorld) -> None:
    world, _ = await with_model(build, "In June.")
    async with client_of(world) as client:
        answer = await client.chat.completions.create(model="scripted", messages=QUESTION, temperature=0.3, user="me")

    assert answer.choices[0].message.content == "In June."
    assert (answer.model, answer.choices[0].finish_reason) == ("scripted", "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_its_tokens_count_as_used(build: BuildWorld, stream: bool) -> None:
    world, _ = await with_model(build, "In June.")
    asked = {"model": "scripted", "messages": QUESTION, "stream": stream}
    assert (await world.client.post("/v1/chat/completions", json=asked)).status_code == 200

    [day] = (await world.client.get("/v1/usage")).json()["data"]

    assert day["tokens"] > 0


@pytest.mark.parametrize("usage", [False, True])
async def test_a_stream(build: BuildWorld, usage: bool) -> None:
    world, _ = await with_model(build, "The exam is in June.")
    async with client_of(world) as client:
        options: Any = {"stream_options": {"include_usage": True}} if usage else {}
        stream = await client.chat.completions.create(model="scripted", messages=QUESTION, stream=True, **options)
        chunks = [chunk async for chunk in stream]

    said = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(said) == "The exam is in June."
    assert len(said) > 3
    assert (chunks[-1].usage is not None) is usage


async def test_a_json_schema_is_kept(build: BuildWorld) -> None:
    world, _ = await with_model(build)
    async with client_of(world) as client:
        answer = await client.chat.completions.create(
            model="scripted",
            messages=[{"role": "developer", "content": [{"type": "text", "text": "One word."}]}, *QUESTION],
            response_format={"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA, "strict": True}},
        )

    assert set(json.loads(answer.choices[0].message.content or "")) == {"word"}


async def test_tools_go_to_the_engine_and_its_calls_come_back(build: BuildWorld) -> None:
    """Over a real endpoint: what the client sends is what the engine gets, and no address of the client's with it."""
    called = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"what": "exam"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [called]}
    reply = {"id": "c", "created": 1, "object": "chat.completion", "model": "tiny",
             "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}  # fmt: skip
    behind = ChatEndpoint(ScriptedLanguageModel(), replies=[(200, json.dumps(reply), {})])
    async with (
        serving(behind) as endpoint,
        OpenAILanguageModel(Endpoint(base_url=endpoint.base_url, model="tiny", extra={"own": 1})) as model,
    ):
        world = await build(
            Settings(openai=OpenAiSettings(aliases={"gpt-4o": "llm"})), language_model=model, chat_relay=model
        )
        async with client_of(world) as client:
            answer = await client.chat.completions.create(
                model="gpt-4o",
                messages=[
                    *QUESTION,
                    {"role": "assistant", "tool_calls": [called]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "June"},
                ],
                tools=[TOOL],
                tool_choice="auto",
                seed=7,
                max_completion_tokens=50,
            )

    [call] = answer.choices[0].message.tool_calls or []
    assert (call.id, call.function.name) == ("call_1", "look_up")
    assert answer.model == "gpt-4o"
    [body] = behind.bodies
    assert body == {
        "model": "tiny",
        "own": 1,
        "stream": False,
        "messages": [
            {"role": "user", "content": "when is the exam"},
            {"role": "assistant", "content": None, "tool_calls": [called]},
            {"role": "tool", "content": "June", "tool_call_id": "call_1"},
        ],
        "tools": [TOOL],
        "tool_choice": "auto",
        "seed": 7,
        "max_completion_tokens": 50,
    }


async def test_a_real_endpoint_streams_refuses_and_breaks(build: BuildWorld) -> None:
    behind = ChatEndpoint(ScriptedLanguageModel(["one two three", ModelUnavailable("gone")]))
    async with (
        serving(behind) as endpoint,
        OpenAILanguageModel(Endpoint(base_url=endpoint.base_url, model="tiny")) as model,
    ):
        world = await build(language_model=model, chat_relay=model)
        async with client_of(world) as client:
            stream = await client.chat.completions.create(model="tiny", messages=QUESTION, stream=True)
            chunks = [chunk async for chunk in stream]
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"

            with pytest.raises(openai.InternalServerError) as broken:
                await client.chat.completions.create(model="tiny", messages=QUESTION, stream=True)
            assert broken.value.code == "model_unavailable"

            behind.replies += [(400, "this tool is no tool: secret prompt", {}), (422, "neither", {})]
            for stream_it in (False, True):
                with pytest.raises(openai.UnprocessableEntityError) as refused:
                    await client.chat.completions.create(
                        model="tiny", messages=QUESTION, tools=[TOOL], stream=stream_it
                    )
                assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (ModelUnavailable("the replica died"), openai.InternalServerError, "model_unavailable"),
        (DeadlineExceeded("too slow"), openai.InternalServerError, "deadline_exceeded"),
        (Overloaded("busy", None, 3.0), openai.RateLimitError, "overloaded"),
        (InvalidRequest("the messages exceed the context", "messages"), openai.UnprocessableEntityError, None),
    ],
)
async def test_errors_are_the_clients_own(
    build: BuildWorld, error: Exception, kind: type[openai.APIStatusError], code: str | None
) -> None:
    world, _ = await with_model(build, error)
    async with client_of(world) as client:
        for stream in (False, True):
            with pytest.raises(kind) as refused:
                await client.chat.completions.create(model="scripted", messages=QUESTION, stream=stream)
            assert code in (None, refused.value.code)
            assert refused.value.request_id


async def test_without_a_language_model_only_collections_answer(world: World) -> None:
    await fill(world)
    async with client_of(world) as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await client.with_options(max_retries=5).chat.completions.create(model="scripted", messages=QUESTION)
        assert (refused.value.status_code, refused.value.code) == (503, "no_language_model")
        assert refused.value.response.headers["x-should-retry"] == "false"
        assert "retry-after" not in refused.value.response.headers

        answer: Any = await client.chat.completions.create(
            model="collection:bio", messages=[{"role": "user", "content": "when is the exam in june"}]
        )

    assert "the exam is in june" in answer.choices[0].message.content
    assert answer.choices[0].message.annotations
    assert answer.degraded[0]["used"] == "extractive"
    assert answer.usage is None


async def test_a_collection_answers_with_annotations(build: BuildWorld) -> None:
    world, model = await with_model(build, ANSWER)
    await fill(world)
    async with client_of(world) as client:
        messages: Any = [{"role": "system", "content": "You are a pirate."}, *QUESTION]
        answer = await client.chat.completions.create(model="collection:bio", messages=messages)

        message = answer.choices[0].message
        [annotation] = message.annotations or []
        cited: Any = annotation.url_citation
        assert (message.content or "")[cited.start_index : cited.end_index] == "[1]"
        assert cited.title == "lecture.wav, SPEAKER_00"
        assert cited.url.startswith(str(client.base_url).removesuffix("v1/") + "v1/jobs/job-1/audio#t=")
        assert cited.quote == "the exam is in june"
        assert model.relayed == []

        stream = await client.chat.completions.create(
            model="collection:bio", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        chunks: list[Any] = [chunk async for chunk in stream]

    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == message.content
    [annotated] = [delta.annotations for delta in deltas if getattr(delta, "annotations", None)]
    assert annotated[0]["url_citation"]["quote"] == "the exam is in june"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens > 0


async def test_what_is_asked_of_a_collection_wrongly(build: BuildWorld) -> None:
    world, _ = await with_model(build, ANSWER)
    await fill(world)
    wrong: list[tuple[dict[str, Any], type[openai.APIStatusError], str]] = [
        ({"model": "collection:none"}, openai.NotFoundError, "model"),
        ({"model": "collection:../x"}, openai.NotFoundError, "model"),
        ({"tools": [TOOL]}, openai.UnprocessableEntityError, "tools"),
        ({"n": 2}, openai.UnprocessableEntityError, "n"),
        ({"response_format": {"type": "json_object"}}, openai.UnprocessableEntityError, "response_format"),
        ({"messages": [{"role": "assistant", "content": "hello"}]}, openai.UnprocessableEntityError, "messages"),
        ({"messages": [{"role": "user", "content": "x" * 5_000}]}, openai.UnprocessableEntityError, "messages"),
    ]
    async with client_of(world) as client:
        for fields, kind, param in wrong:
            asked: Any = {"model": "collection:bio", "messages": QUESTION, **fields}
            with pytest.raises(kind) as refused:
                await client.chat.completions.create(**asked)
            assert refused.value.param == param, fields


async def test_nothing_that_a_message_points_at_is_fetched(build: BuildWorld) -> None:
    world, model = await with_model(build, "no")
    part = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}}

    refused = await world.client.post(
        "/v1/chat/completions", json={"model": "scripted", "messages": [{"role": "user", "content": [part]}]}
    )
    unknown = await world.client.post(
        "/v1/chat/completions", json={"model": "scripted", "messages": QUESTION, "chat_template": "{{ 7 * 7 }}"}
    )

    assert (refused.status_code, unknown.status_code, model.relayed) == (422, 422, [])


async def test_a_store_that_is_down_has_its_status_before_the_stream(build: BuildWorld) -> None:
    world, _ = await with_model(build, passages=FailingStore(PassageStoreUnavailable("away")))
    async with client_of(world) as client:
        with pytest.raises(openai.InternalServerError) as down:
            await client.chat.completions.create(model="collection:bio", messages=QUESTION, stream=True)
        assert down.value.code == "passage_store_unavailable"


async def test_the_model_is_stopped_when_the_client_leaves(build: BuildWorld) -> None:
    never = asyncio.Event()
    model = ScriptedLanguageModel([ScriptedAnswer(text="x", gate=never)])
    world: World = await build(language_model=model, chat_relay=model)
    async with client_of(world) as client:
        asking = asyncio.create_task(client.chat.completions.create(model="scripted", messages=QUESTION))
        await model.until_running(1)
        asking.cancel()
        await model.until_idle()

    assert model.running == 0


async def test_keys_scopes_and_the_tenants_own_collections(build: BuildWorld) -> None:
    world, _ = await with_model(build, ANSWER, settings=KEYED)
    await fill(world, tenant="tenant-a")
    async with client_of(world, "key-a") as client:
        listed = [model.id async for model in client.models.list()]
        assert "collection:bio" in listed
        assert (await client.chat.completions.create(model="collection:bio", messages=QUESTION)).choices
        other = client.with_options(api_key="key-b")
        assert "collection:bio" not in [model.id async for model in other.models.list()]
        with pytest.raises(openai.NotFoundError):
            await other.chat.completions.create(model="collection:bio", messages=QUESTION)
        reader = client.with_options(api_key="key-reader")
        assert "collection:bio" not in [model.id async for model in reader.models.list()]
        with pytest.raises(openai.PermissionDeniedError):
            await reader.chat.completions.create(model="collection:bio", messages=QUESTION)
        with pytest.raises(openai.AuthenticationError):
            await client.with_options(api_key="wrong").chat.completions.create(model="scripted", messages=QUESTION)


async def test_the_synchronous_client(build: BuildWorld) -> None:
    world, _ = await with_model(build, "In June.")
    async with listening(world.app) as address:

        def use() -> tuple[str | None, str]:
            with openai.OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0) as client:
                whole = client.chat.completions.create(model="scripted", messages=QUESTION)
                stream = client.chat.completions.create(model="scripted", messages=QUESTION, stream=True)
                said = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
                return whole.choices[0].message.content, said

        assert await asyncio.to_thread(use) == ("In June.", "In June.")
