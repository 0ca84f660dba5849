"""Rates and quotas, and what is written down of who used what."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.fakes.accounts import InMemoryAccounts
from serve_app.api.edge import limits
from serve_app.settings import TENANT_SCOPES, Settings
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import key

KEYS = tuple(
    key(text, tenant, *TENANT_SCOPES)
    for text, tenant in (("one", "tenant-a"), ("two", "tenant-a"), ("three", "tenant-b"))
)


def keyed(**bounds: Any) -> Settings:
    return Settings(profile="gpu", keys=KEYS, limits=bounds)


async def status(world: World, held: str) -> int:
    async with world.client_for(held) as client:
        return (await client.get("/v1/templates")).status_code


async def test_headers_say_what_is_left(build: BuildWorld) -> None:
    world = await build(keyed(requests_per_minute=10, requests_per_minute_per_tenant=15), key="one")

    answers = [await world.client.get("/v1/jobs") for _ in range(2)]

    assert answers[1].headers["ratelimit-policy"] == '"key";q=10;w=60, "tenant";q=15;w=60'
    first, second = answers[1].headers["ratelimit"].split(", ")
    assert first.startswith('"key";r=8;t=')
    assert second.startswith('"tenant";r=13;t=')
    assert 1 <= int(first.rpartition("=")[2]) <= 60


async def test_above_the_rate_of_a_key_is_a_429_and_other_keys_go_on(build: BuildWorld) -> None:
    world = await build(keyed(requests_per_minute=2))

    assert [await status(world, "one") for _ in range(3)] == [200, 200, 429]
    async with world.client_for("one") as client:
        refused = await client.get("/v1/templates")
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"].startswith('"key";r=0;t=')
    assert await status(world, "two") == 200


async def test_the_rate_of_a_tenant_is_shared_by_its_keys(build: BuildWorld) -> None:
    world = await build(keyed(requests_per_minute_per_tenant=3))

    assert [await status(world, held) for held in ("one", "two", "one", "two", "three")] == [200, 200, 200, 429, 200]


async def test_without_limits_no_header_says_so(world: World) -> None:
    answer = await world.client.get("/v1/jobs")

    assert "ratelimit" not in answer.headers
    assert "ratelimit-policy" not in answer.headers


async def test_a_redis_that_is_away_leaves_each_process_its_own_count(build: BuildWorld, unused: int) -> None:
    settings = Settings(
        profile="gpu",
        keys=KEYS,
        limits={"requests_per_minute": 1},
        data={"redis_url": f"redis://127.0.0.1:{unused}/0"},
    )
    world = await build(settings)

    assert [await status(world, "one") for _ in range(2)] == [200, 429]


@pytest.fixture
def unused() -> int:
    """A port of this machine at which nobody listens."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def test_a_tenant_whose_audio_of_the_day_is_used_sends_no_more(build: BuildWorld, wav: bytes) -> None:
    world = await build(keyed(audio_minutes_per_day=2), key="one", run_jobs=False)
    meter: limits.UsageMeter = world.app.state.usage
    await world.services.accounts.add_usage("a job", "tenant-a", meter.today, {"audio_s": 120.0})

    refused = await world.client.post("/v1/jobs", files={"file": ("a.wav", wav)})

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota_exceeded")
    assert int(refused.headers["retry-after"]) <= 24 * 3600
    assert (await world.client.get("/v1/jobs")).status_code == 200
    async with world.client_for("three") as client:
        assert (await client.post("/v1/jobs", files={"file": ("a.wav", wav)})).status_code == 202


async def test_requests_are_counted_by_tenant_and_day(build: BuildWorld) -> None:
    world = await build(keyed(), key="one")
    for _ in range(3):
        await world.client.get("/v1/jobs")

    usage = (await world.client.get("/v1/usage")).json()

    assert usage["tenant"] == "tenant-a"
    [day] = usage["data"]
    assert day == {
        "date": world.app.state.usage.today,
        "requests": 4,
        "jobs": 0,
        "audio_minutes": 0.0,
        "tokens": 0,
    }
    async with world.client_for("three") as client:
        assert [day["requests"] for day in (await client.get("/v1/usage")).json()["data"]] == [1]
        assert (await client.get("/v1/usage?tenant=tenant-a")).status_code == 403


@pytest.mark.parametrize("query", ["start=2026-02-01&end=2026-01-01", "start=2020-01-01&end=2026-01-01", "start=x"])
async def test_days_that_cannot_be_asked_for(build: BuildWorld, query: str) -> None:
    world = await build(keyed(), key="one")

    assert (await world.client.get(f"/v1/usage?{query}")).status_code == 422


async def test_what_could_not_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_WRITTEN_EVERY_S", 0.0)
    accounts = InMemoryAccounts()
    meter = limits.UsageMeter(accounts)
    accounts.down = True
    meter.add("tenant-a", requests=1)
    assert meter._writing is not None
    await meter._writing
    accounts.down = False

    meter.add("tenant-a", requests=1)
    await meter._writing

    [day] = await accounts.usage_days("tenant-a", meter.today, meter.today)
    assert day.amounts == {"requests": 2.0}


async def test_who_did_what_is_written_without_a_word_of_it(build: BuildWorld, tmp_path: Path, wav: bytes) -> None:
    path = tmp_path / "audit.jsonl"
    world = await build(Settings(profile="gpu", keys=KEYS, data={"audit_log": path}), key="one")
    sent = (await world.client.post("/v1/jobs", files={"file": ("secret name.wav", wav)})).json()
    await world.jobs.settle("tenant-a", sent["id"])
    await world.client.get(f"/v1/jobs/{sent['id']}/transcript")
    await world.client.delete(f"/v1/jobs/{sent['id']}?erase=true")
    await world.client.get("/health/live")
    audit = next(layer.kwargs["audit"] for layer in world.app.user_middleware if "audit" in layer.kwargs)
    await asyncio.to_thread(audit.close)

    text = await asyncio.to_thread(path.read_text)
    entries = [json.loads(line) for line in text.splitlines()]

    assert [(entry["action"], entry["method"], entry["route"]) for entry in entries] == [
        ("change", "POST", "/v1/jobs"),
        ("read", "GET", "/v1/jobs/{job_id}/transcript"),
        ("erase", "DELETE", "/v1/jobs/{job_id}"),
    ]
    assert entries[2]["ids"] == {"job_id": sent["id"]}
    assert {entry["tenant"] for entry in entries} == {"tenant-a"}
    assert len({entry["key_id"] for entry in entries}) == 1
    for word in ("secret name", "exam", "one"):
        assert f'"{word}' not in text
