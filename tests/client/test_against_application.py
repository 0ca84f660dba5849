"""The client against the real application on fakes, over a real socket: both sides of the contract at once."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from pipelines.fakes.scripted_speech import write_wav
from serve_app.client import RayScribeClient, RequestRefused
from serve_app.settings import ApiKey, LimitSettings, Settings
from tests.api.conftest import SPEECH, World, build_world

FEATURES = ["raw_transcript", "diarization", "index"]


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an application on a port of its own, in a thread that ends with the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        listener.close()
    assert not thread.is_alive()


@pytest.fixture
def world() -> World:
    return build_world(Settings())


@pytest.fixture
def client(world: World) -> Iterator[RayScribeClient]:
    with served(world.app) as url, RayScribeClient(url, patience_s=5.0) as client:
        yield client


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "exam talk.wav"
    file.write_bytes(write_wav(SPEECH))
    return file


def test_recording_becomes_a_transcript(client: RayScribeClient, recording: Path) -> None:
    accepted = client.submit(recording, {"features": FEATURES, "collection": "talks"})
    assert accepted["status"] in ("queued", "running")
    events = list(client.events(accepted["id"]))
    assert [events[0].type, events[-1].type] == ["queued", "succeeded"]
    assert "the exam is in june" in str([event.data for event in events if event.type == "window"])
    finished = client.job(accepted["id"])
    assert finished["status"] == "succeeded"
    assert finished["recording"] is not None
    assert finished["recording"]["filename"] == "exam talk.wav"
    segments = client.transcript(accepted["id"])["segments"]
    assert [(segment["speaker"], segment["text"]) for segment in segments] == [
        ("SPEAKER_00", "the exam is in june"),
        ("SPEAKER_01", "and who will grade it"),
    ]


def test_events_can_be_resumed_from_any_of_them(client: RayScribeClient, recording: Path) -> None:
    job_id = client.submit(recording, {})["id"]
    events = list(client.events(job_id))
    for seen in range(len(events)):
        assert list(client.events(job_id, after=seen)) == events[seen + 1 :]


@pytest.mark.parametrize("form", ["text", "srt", "vtt", "md", "json"])
def test_transcript_in_each_format(client: RayScribeClient, recording: Path, form: str) -> None:
    job_id = client.submit(recording, {"features": ["diarization"]})["id"]
    list(client.events(job_id))
    assert "the exam is in june" in client.transcript_text(job_id, form)


def test_what_was_said_is_found_again(client: RayScribeClient, recording: Path) -> None:
    job_id = client.submit(recording, {"features": FEATURES, "collection": "talks"})["id"]
    list(client.events(job_id))
    hits = client.search("exam in june", ["talks"], top_k=3, mode="hybrid")["hits"]
    assert hits[0]["job_id"] == job_id
    assert "the exam is in june" in hits[0]["text"]
    assert hits[0]["recording"] == "exam talk.wav"
    speaker = client.search("exam", ["talks"], filters={"speakers": ["SPEAKER_01"]})["hits"]
    assert all("SPEAKER_01" in hit["speakers"] for hit in speaker)
    with pytest.raises(RequestRefused) as caught:
        client.search("exam", ["nowhere"])
    assert caught.value.status == 404


def test_same_key_is_the_same_job(client: RayScribeClient, recording: Path) -> None:
    first, second = (client.submit(recording, {}, idempotency_key="k")["id"] for _ in range(2))
    assert first == second
    with pytest.raises(RequestRefused, match="key") as caught:
        client.submit(recording, {"language": "en"}, idempotency_key="k")
    assert (caught.value.status, caught.value.code) == (409, "idempotency_conflict")


def test_jobs_are_listed_and_erased(client: RayScribeClient, recording: Path) -> None:
    ids = [client.submit(recording, {})["id"] for _ in range(3)]
    for job_id in ids:
        list(client.events(job_id))
    assert [job["id"] for job in client.jobs(limit=2)] == [ids[2], ids[1]]
    assert client.jobs(status="failed") == []
    client.erase(ids[0])
    assert [job["id"] for job in client.jobs()] == [ids[2], ids[1]]


def test_refusals_arrive_with_code_and_field(client: RayScribeClient, recording: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestRefused) as unknown:
        client.job("0192f0a0-0000-7000-8000-000000000001")
    assert (unknown.value.status, unknown.value.code) == (404, "not_found")
    with pytest.raises(RequestRefused) as invalid:
        client.submit(recording, {"features": "index"})
    assert (invalid.value.status, invalid.value.param) == (422, "collection")
    noise = tmp_path / "noise.bin"
    noise.write_bytes(b"not audio" * 1000)
    with pytest.raises(RequestRefused) as not_audio:
        client.submit(noise, {})
    assert not_audio.value.status == 415


def test_upload_that_is_too_large_is_refused_not_broken(recording: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(30_000_000))
    world = build_world(Settings(limits=LimitSettings(upload_bytes=1_000_000)))
    with served(world.app) as url, RayScribeClient(url) as client, pytest.raises(RequestRefused) as caught:
        client.submit(large, {})
    assert (caught.value.status, caught.value.code) == (413, "too_large")


def test_key_is_asked_for(recording: Path) -> None:
    key = ApiKey(sha256="2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", tenant="acme")
    world = build_world(Settings(profile="gpu", keys=(key,)))
    with served(world.app) as url:
        with RayScribeClient(url) as stranger, pytest.raises(RequestRefused) as caught:
            stranger.jobs()
        assert caught.value.status == 401
        with RayScribeClient(url, api_key="secret") as member:
            assert member.jobs() == []


def test_health_and_models(client: RayScribeClient) -> None:
    assert client.health("live") == (200, {"status": "ok"})
    assert client.health("ready")[0] == 200
    assert {model["role"] for model in client.models()["models"]} >= {"asr", "diarizer", "embedder"}
