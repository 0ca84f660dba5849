"""Transcripts of other systems as jobs: found, read and played like those of its own."""

import json
from typing import Any

import httpx
import pytest

from serve_app.settings import LimitSettings, Settings
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import KEYED
from tests.api.jobs.test_jobs import ended

SRT = "1\n00:00:00,500 --> 00:00:02,000\nSPEAKER_00: mitochondria make energy\n"


async def send(client: httpx.AsyncClient, transcript: Any = SRT, wav: bytes | None = None, **more: Any) -> Any:
    files: dict[str, Any] = {"transcript": ("lecture 7.srt", transcript)}
    if wav is not None:
        files["file"] = ("lecture 7.wav", wav)
    headers = {"idempotency-key": more.pop("key")} if "key" in more else {}
    return await client.post("/v1/transcripts", files=files, data=more, headers=headers)


async def test_without_a_recording_it_is_found_and_read_but_not_heard(world: World) -> None:
    accepted = await send(world.client, features="raw_transcript,index", collection="bio", language="en")
    assert accepted.status_code == 202, accepted.text
    assert accepted.headers["location"] == accepted.json()["links"]["self"]

    job = await ended(world.client, accepted.json())

    assert job["status"] == "succeeded"
    assert job["results"]["raw_transcript"] == "mitochondria make energy"
    assert (job["results"]["language"], job["results"]["speakers"]) == ("en", ["SPEAKER_00"])
    assert (job["versions"]["asr"]["backend"], job["versions"]["asr"]["model"]) == ("imported", "srt")
    assert job["recording"]["filename"] == "lecture 7.srt"
    assert world.transcriber.windows == []
    found = (await world.client.post("/v1/search", json={"query": "energy", "collection": "bio"})).json()["hits"]
    assert (found[0]["job_id"], found[0]["speakers"]) == (job["id"], ["SPEAKER_00"])
    assert (await world.client.get(job["links"]["audio"])).status_code == 404
    assert (await world.client.get(job["links"]["transcript"], params={"format": "srt"})).text.startswith(
        "1\n00:00:00,500"
    )


async def test_with_its_recording_it_is_heard_too(world: World, wav: bytes) -> None:
    job = await ended(world.client, (await send(world.client, wav=wav)).json())

    assert job["status"] == "succeeded"
    assert (job["recording"]["codec"], job["recording"]["filename"]) == ("pcm_s16le", "lecture 7.wav")
    assert (await world.client.get(job["links"]["audio"])).content == wav
    assert world.transcriber.windows == []


async def test_what_another_server_of_openais_kind_answered_is_taken(world: World, wav: bytes) -> None:
    answered = await world.client.post(
        "/v1/audio/transcriptions",
        files={"file": ("a.wav", wav)},
        data={"model": "whisper-1", "response_format": "diarized_json"},
    )

    job = await ended(world.client, (await send(world.client, answered.content)).json())

    transcript = (await world.client.get(job["links"]["transcript"])).json()
    assert [(entry["speaker"], entry["text"]) for entry in transcript["segments"]] == [
        ("A", "the exam is in june"),
        ("B", "and who will grade it"),
    ]


async def test_the_same_key_is_the_same_job_and_another_transcript_a_conflict(idle: World) -> None:
    first = await send(idle.client, key="k")
    stored = idle.stored

    assert (await send(idle.client, key="k")).json()["id"] == first.json()["id"]
    other = await send(idle.client, SRT.replace("energy", "noise"), key="k")

    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert idle.stored == stored


@pytest.mark.parametrize(
    ("transcript", "fields", "param"),
    [
        ("no transcript at all", {}, "transcript"),
        (b"\xff\xfe1\x00", {}, "transcript"),
        (SRT, {"features": "diarization"}, "features"),
        (SRT, {"features": "index"}, "collection"),
        (SRT, {"colour": "blue"}, "colour"),
        (SRT, {"language": "english"}, "language"),
    ],
)
async def test_what_is_refused_leaves_nothing(world: World, transcript: Any, fields: Any, param: str) -> None:
    refused = await send(world.client, transcript, **fields)

    assert (refused.status_code, refused.json()["error"]["param"]) == (422, param)
    assert world.stored == []


async def test_without_a_transcript_or_room_nothing_is_taken(build: BuildWorld, wav: bytes) -> None:
    world = await build(Settings(limits=LimitSettings(upload_bytes=1_000)), run_jobs=False)

    alone = await world.client.post("/v1/transcripts", files={"file": ("a.wav", b"RIFF")})
    large = await send(world.client, wav=wav)
    noise = await send(world.client, wav=b"no sound")

    assert [(answer.status_code, answer.json()["error"]["param"]) for answer in (alone, large, noise)] == [
        (422, "transcript"),
        (413, "file"),
        (415, "file"),
    ]
    assert world.stored == []


async def test_it_belongs_to_its_tenant(build: BuildWorld) -> None:
    world = await build(KEYED, run_jobs=False)
    async with world.client_for("key-a") as own, world.client_for("key-b") as other:
        job = (await send(own, json.dumps([{"start": 0, "end": 1, "text": "secret"}]))).json()
        assert (await other.get(job["links"]["transcript"])).status_code == 404
    async with world.client_for("key-reader") as reader:
        assert (await send(reader)).status_code == 403
