"""The client that ships with the product, against the application over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from serve_app.client.client import RayScribeClient
from serve_app.client.errors import RequestRefused
from tests.api.conftest import BuildWorld, World, listening
from tests.api.edge.test_authentication import KEYED

UNKNOWN = "0192f0c1-2f3b-7abc-8def-0123456789ab"


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    async with listening(world.app) as address:
        yield address


@pytest.fixture
def recording(tmp_path: Path, wav: bytes) -> Path:
    path = tmp_path / "lecture.wav"
    path.write_bytes(wav)
    return path


def use_everything(client: RayScribeClient, recording: Path) -> dict[str, Any]:
    """What the command line and the demo do."""
    fields: dict[str, Any] = {"features": ["raw_transcript", "diarization", "index"], "collection": "bio"}
    job = client.submit(recording, fields, idempotency_key="once")
    return {
        "events": [event.type for event in client.events(job["id"])],
        "job": client.job(job["id"]),
        "repeat": client.submit(recording, fields, idempotency_key="once")["id"],
        "listed": [listed["id"] for listed in client.jobs(collection="bio", status="succeeded")],
        "transcript": client.transcript(job["id"]),
        "srt": client.transcript_text(job["id"], "srt"),
        "search": client.search("when is the exam", ["bio"], top_k=1, highlight=True),
        "chat": client.chat("when is the exam", ["bio"]),
        "models": client.models(),
        "ready": client.health("ready"),
        "detailed": client.health("detailed"),
    }


async def test_every_call_finds_what_it_expects(address: str, recording: Path) -> None:
    with RayScribeClient(address) as client:
        seen = await asyncio.to_thread(use_everything, client, recording)
        await asyncio.to_thread(client.erase, seen["job"]["id"])
        with pytest.raises(RequestRefused, match="no such job"):
            await asyncio.to_thread(client.job, seen["job"]["id"])

    assert (seen["events"][0], seen["events"][-1]) == ("queued", "succeeded")
    assert seen["repeat"] == seen["job"]["id"] == seen["listed"][0]
    assert seen["transcript"]["segments"][0]["speaker"] == "SPEAKER_00"
    assert seen["srt"].startswith("1\n")
    assert seen["search"]["hits"][0]["recording"] == "lecture.wav"
    assert seen["chat"]["citations"]
    assert seen["models"]["models"][0]["status"] == "ready"
    assert (seen["ready"][0], seen["detailed"][0]) == (200, 200)


async def test_refusals_have_their_code(build: BuildWorld, recording: Path) -> None:
    world = await build(KEYED)
    async with listening(world.app) as address:
        with RayScribeClient(address, api_key="wrong") as client, pytest.raises(RequestRefused, match="key"):
            await asyncio.to_thread(client.job, UNKNOWN)
        with RayScribeClient(address, api_key="key-a") as client, pytest.raises(RequestRefused) as refused:
            await asyncio.to_thread(client.submit, recording, {"features": "telepathy"})

    assert "features" in str(refused.value)
