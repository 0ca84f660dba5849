"""``POST /v1/jobs {"url": …}``."""

import asyncio
import json
from typing import Any

import pytest

from pipelines.domain.job import JobStatus
from serve_app.settings import Settings
from tests.api.conftest import BuildWorld, World
from tests.outbound.servers import Answer, Asked, head, serving

OPEN = Settings(outbound={"allow_http": True, "allowed_networks": ("127.0.0.1/32",)})


def sending(sound: bytes) -> Answer:
    async def answer(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head("200 OK", content_length=len(sound)) + sound)

    return answer


async def missing(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head("404 Not Found", content_length=0))


async def ended(world: World, job_id: str) -> Any:
    async with asyncio.timeout(20):
        async for event in world.jobs.events("default", job_id):
            last = event
    assert last.type in ("succeeded", "failed")
    return (await world.client.get(f"/v1/jobs/{job_id}")).json()


async def test_a_recording_is_fetched_and_heard_as_a_stage_of_its_job(build: BuildWorld, wav: bytes) -> None:
    world = await build(OPEN)
    async with serving(sending(wav)) as server:
        url = server.url("/lectures/biology%201.wav?token=secret")
        sent = await world.client.post("/v1/jobs", json={"url": url, "features": ["raw_transcript", "diarization"]})
        assert sent.status_code == 202, sent.text
        job = await ended(world, sent.json()["id"])

    assert (job["status"], job["recording"]["filename"]) == ("succeeded", "biology 1.wav")
    assert job["recording"]["bytes"] == len(wav)
    assert len(job["recording"]["sha256"]) == 64
    assert "the exam is in june" in job["results"]["raw_transcript"]
    assert "fetch" in job["metrics"]["stage_s"]
    sound = await world.client.get(job["links"]["audio"])
    assert (sound.status_code, sound.content) == (200, wav)
    assert "secret" not in str(job)


async def test_the_token_of_an_address_is_in_no_log(build: BuildWorld, logged: list[Any]) -> None:
    world = await build(OPEN)
    async with serving(missing) as server:
        sent = await world.client.post("/v1/jobs", json={"url": server.url("/a.wav?token=sesame")})
        job = await ended(world, sent.json()["id"])

    assert (job["status"], job["error"]["code"], job["error"]["stage"]) == ("failed", "source_unreachable", "fetch")
    assert "sesame" not in repr(logged)
    assert "sesame" not in str(job)


async def test_a_failed_fetch_can_be_retried(build: BuildWorld, wav: bytes) -> None:
    world = await build(OPEN)
    answers = iter([missing, sending(wav)])

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await next(answers)(asked, writer)

    async with serving(answer) as server:
        sent = (await world.client.post("/v1/jobs", json={"url": server.url()})).json()
        assert (await ended(world, sent["id"]))["status"] == "failed"
        assert (await world.client.post(f"/v1/jobs/{sent['id']}/retry")).status_code == 202
        assert (await ended(world, sent["id"]))["status"] == "succeeded"


async def test_a_redirect_to_a_private_address_fails_the_job(build: BuildWorld) -> None:
    async def answer(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head("302 Found", location="http://169.254.169.254/latest/meta-data", content_length=0))

    world = await build(OPEN)
    async with serving(answer) as server:
        sent = await world.client.post("/v1/jobs", json={"url": server.url()})
        job = await ended(world, sent.json()["id"])

    assert (job["status"], job["error"]["code"]) == ("failed", "address_refused")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"url": "http://example.org/a.wav"}, "address_refused", "url"),
        ({"url": "https://127.0.0.1/a.wav"}, "address_refused", "url"),
        ({"url": "https://[::ffff:169.254.169.254]/"}, "address_refused", "url"),
        ({"url": "https://u:p@example.org/"}, "address_refused", "url"),
        ({"url": ""}, "invalid_field", "url"),
        ({"url": 7}, "invalid_field", "url"),
        ({"url": "https://example.org/\ud800"}, "invalid_field", None),
        ({}, "invalid_field", "url"),
        ([], "invalid_field", None),
        ({"url": "https://example.org/a.wav", "colour": "red"}, "invalid_field", "colour"),
        ({"url": "https://example.org/a.wav", "features": ["index"]}, "invalid_field", "collection"),
        ({"url": "https://example.org/a.wav", "redact": ["person"]}, "not_available", "redact"),
    ],
)
async def test_what_cannot_be_fetched_is_refused_at_once(idle: World, body: Any, code: str, param: str | None) -> None:
    content = json.dumps(body).encode()
    refused = await idle.client.post("/v1/jobs", content=content, headers={"content-type": "application/json"})

    assert refused.status_code == 422, refused.text
    assert (refused.json()["error"]["code"], refused.json()["error"]["param"]) == (code, param)
    assert idle.stored == []


async def test_a_body_that_is_no_json_is_malformed(idle: World) -> None:
    answer = await idle.client.post("/v1/jobs", content=b"{", headers={"content-type": "application/json"})

    assert answer.status_code == 400


async def test_a_repeat_under_one_key_is_one_job(idle: World) -> None:
    headers = {"Idempotency-Key": "once"}
    first, again = [
        await idle.client.post("/v1/jobs", json={"url": "https://example.org/a.wav"}, headers=headers) for _ in range(2)
    ]
    other = await idle.client.post("/v1/jobs", json={"url": "https://example.org/b.wav"}, headers=headers)

    assert first.json()["id"] == again.json()["id"]
    assert first.json()["status"] == JobStatus.QUEUED
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
