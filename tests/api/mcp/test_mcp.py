"""The Model Context Protocol, with the SDK's own client over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from pipelines.domain.transcript import Segment
from serve_app.mcp.tools import MOST_CHARACTERS, _part
from tests.api.conftest import BuildWorld, World, listening
from tests.api.edge.test_authentication import KEYED
from tests.api.jobs.test_jobs import UNKNOWN, ended, submitted

mcp_client = pytest.importorskip("mcp.client", reason="the SDK of the Model Context Protocol is not installed")


@asynccontextmanager
async def connected(world: World, key: str | None = None) -> AsyncIterator[Any]:
    """The SDK's client at our address, with a key."""
    from httpx2 import AsyncClient
    from mcp.client.client import Client
    from mcp.client.streamable_http import streamable_http_client

    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with (
        listening(world.app) as address,
        AsyncClient(headers=headers) as http,
        Client(streamable_http_client(f"{address}/mcp", http_client=http)) as client,
    ):
        yield client


async def call(client: Any, tool: str, **arguments: Any) -> Any:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    return answer.structured_content


async def refused(client: Any, tool: str, **arguments: Any) -> str:
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error
    return str(answer.content[0].text)


@pytest.fixture
async def talk(world: World, wav: bytes) -> tuple[World, Any]:
    fields = {"features": "raw_transcript,diarization,index", "collection": "talks"}
    return world, await ended(world.client, await submitted(world.client, wav, **fields))


async def test_a_model_finds_reads_and_asks(talk: tuple[World, Any]) -> None:
    world, job = talk
    async with connected(world) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {
            "search", "ask", "list_collections", "list_recordings", "recording_status", "read_recording",
        }  # fmt: skip
        assert await call(client, "list_collections") == {"collections": [{"name": "talks", "passages": 1}]}
        [hit] = (await call(client, "search", query="when is the exam", collections=["talks"]))["hits"]
        assert (hit["job_id"], hit["start_s"]) == (job["id"], pytest.approx(0.5, abs=0.2))
        answer = await call(client, "ask", question="When is the exam?", collections=["talks"])
        assert answer["citations"][0]["job_id"] == job["id"]
        read = await call(client, "read_recording", job_id=job["id"])
        assert [segment["speaker"] for segment in read["segments"]] == ["SPEAKER_00", "SPEAKER_01"]
        assert (read["next_start_s"], read["revision"]) == (None, 1)
        later = await call(client, "read_recording", job_id=job["id"], start_s=2.2)
        assert [segment["text"] for segment in later["segments"]] == ["and who will grade it"]
        listed = await call(client, "list_recordings", status="succeeded")
        assert [entry["id"] for entry in listed["recordings"]] == [job["id"]]
        status = await call(client, "recording_status", job_id=job["id"])
        assert (status["status"], status["results"]["speakers"]) == ("succeeded", ["SPEAKER_00", "SPEAKER_01"])


async def test_what_is_wrong_is_said_by_its_code(talk: tuple[World, Any]) -> None:
    world, _ = talk
    async with connected(world) as client:
        assert "not_found" in await refused(client, "search", query="x", collections=["nowhere"])
        assert "not_found" in await refused(client, "recording_status", job_id=UNKNOWN)
        assert "invalid_field" in await refused(client, "search", query="x", collections=["../../etc"])
        assert "not_found" in await refused(client, "read_recording", job_id="'; drop table jobs")
        assert "invalid_field" in await refused(client, "ask", question="x" * 100_000, collections=["talks"])


async def test_a_key_sees_its_tenant_and_does_what_its_scopes_allow(build: BuildWorld, wav: bytes) -> None:
    world = await build(KEYED, key="key-a")
    job = await ended(world.client, await submitted(world.client, wav))
    async with connected(world, "key-b") as stranger:
        assert await call(stranger, "list_recordings") == {"recordings": []}
        assert "not_found" in await refused(stranger, "read_recording", job_id=job["id"])
    async with connected(world, "key-reader") as reader:
        assert (await call(reader, "recording_status", job_id=job["id"]))["status"] == "succeeded"
        assert "insufficient_scope" in await refused(reader, "search", query="x", collections=["talks"])
    async with listening(world.app) as address, httpx.AsyncClient() as http:
        answer = await http.post(f"{address}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_a_page_of_another_site_cannot_ask_where_nobody_needs_a_key(world: World) -> None:
    async with listening(world.app) as address, httpx.AsyncClient() as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
            assert (await http.post(f"{address}/mcp", json=body, headers=headers)).status_code == 403


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"jsonrpc": "2.0"}', b"\xff" * 100, b"x" * (2 << 20)], ids=len)
async def test_rubbish_is_the_client_s_mistake(world: World, body: bytes) -> None:
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    async with listening(world.app) as address, httpx.AsyncClient() as http:
        answer = await http.post(f"{address}/mcp", content=body, headers=headers)
    assert 400 <= answer.status_code < 500


def test_a_long_transcript_comes_in_parts_that_leave_nothing_out() -> None:
    segments = tuple(
        Segment(id=number, start_s=10.0 * number, end_s=10.0 * number + 9, text="x" * 900) for number in range(100)
    )
    read, start_s = list[float](), 0.0
    while True:
        lines, following = _part(segments, start_s, None)
        assert sum(len(line["text"]) for line in lines) <= MOST_CHARACTERS
        read += [line["start_s"] for line in lines]
        if following is None:
            break
        start_s = following
    assert read == [segment.start_s for segment in segments]


async def test_a_model_reads_first_what_there_is(build: BuildWorld) -> None:
    world = await build(KEYED)
    answer = await world.client.get("/llms.txt")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/markdown; charset=utf-8")
    named = {tool.strip(" ;") for tool in answer.text.split("HTTP: ")[1].split(";")[0].replace("\n", " ").split(",")}
    async with connected(world, "key-a") as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == named
