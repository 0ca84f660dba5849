"""Reading, listing, cancelling, erasing and retrying jobs."""

import asyncio
from typing import Any

import httpx
import pytest

from pipelines.domain.job import JobStatus
from pipelines.errors import ModelError
from pipelines.fakes.models import FakeEmbedder, FakeTranscriber
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from pipelines.language.templates import load_templates
from serve_app.ports import SHIPPED_TEMPLATES
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import KEYED

UNKNOWN = "0192f0c1-2f3b-7abc-8def-0123456789ab"
MALFORMED = ("x", "0", "..%2f..", UNKNOWN.upper(), UNKNOWN + "0", UNKNOWN[:-1], "%00", "'; drop table jobs")


async def submitted(client: httpx.AsyncClient, wav: bytes, **fields: Any) -> Any:
    response = await client.post("/v1/jobs", files={"file": ("lecture.wav", wav)}, data=fields)
    assert response.status_code == 202, response.text
    return response.json()


async def ended(client: httpx.AsyncClient, job: Any) -> Any:
    """Follow the job's events to the terminal one, and return the job."""
    async with client.stream("GET", job["links"]["events"]) as stream:
        async for _ in stream.aiter_bytes():
            continue
    return (await client.get(job["links"]["self"])).json()


async def test_a_job_that_has_ended_shows_its_results(world: World, wav: bytes) -> None:
    job = await ended(world.client, await submitted(world.client, wav, features="raw_transcript,diarization"))

    assert (job["status"], job["progress"], job["stage"]) == ("succeeded", 1.0, None)
    assert job["results"]["raw_transcript"] == "the exam is in june and who will grade it"
    assert job["results"]["language"] == "en"
    assert job["results"]["speakers"] == ["SPEAKER_00", "SPEAKER_01"]
    assert job["versions"]["asr"]["backend"] == "fake"
    assert job["metrics"]["input_duration_s"] == pytest.approx(4.5)
    assert job["recording"]["codec"] == "pcm_s16le"
    assert (job["attempts"], job["error"]) == (1, None)


class BrokenTranscriber(FakeTranscriber):
    async def transcribe(self, window: Any, options: Any) -> Any:
        raise ModelError("no window could be decoded")


async def test_a_failed_job_says_why_and_where_and_can_be_retried(build: BuildWorld, wav: bytes) -> None:
    world = await build()
    working = world.transcriber.transcribe
    world.transcriber.transcribe = BrokenTranscriber().transcribe
    job = await ended(world.client, await submitted(world.client, wav))

    assert (job["status"], job["error"]["code"], job["error"]["stage"]) == ("failed", "model_error", "transcribe")
    assert set(job["error"]) == {"message", "type", "param", "code", "stage"}

    world.transcriber.transcribe = working
    retried = await world.client.post(f"{job['links']['self']}/retry")
    assert (retried.status_code, retried.json()["id"]) == (202, job["id"])
    assert (await ended(world.client, job))["status"] == "succeeded"


async def test_only_a_failed_job_can_be_retried(world: World, wav: bytes) -> None:
    job = await ended(world.client, await submitted(world.client, wav))

    response = await world.client.post(f"{job['links']['self']}/retry")

    assert (response.status_code, response.json()["error"]["code"]) == (409, "job_not_failed")


async def test_cancelling(build: BuildWorld, wav: bytes) -> None:
    world = await build(run_jobs=False)
    job = await submitted(world.client, wav)

    cancelled = await world.client.delete(job["links"]["self"])
    again = await world.client.delete(job["links"]["self"])

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "job_ended")
    assert again.headers["x-should-retry"] == "false"
    assert world.stored, "cancelling keeps what there is"


async def test_erasing_leaves_nothing(world: World, wav: bytes) -> None:
    job = await ended(world.client, await submitted(world.client, wav, features="index", collection="bio"))
    assert await world.passages.passages("default", "bio", job["id"])

    response = await world.client.delete(job["links"]["self"], params={"erase": "true"})

    assert (response.status_code, response.content) == (204, b"")
    assert world.stored == []
    assert not await world.passages.passages("default", "bio", job["id"])
    assert (await world.client.get(job["links"]["self"])).status_code == 404


@pytest.mark.parametrize("suffix", ["", "/events", "/transcript", "/audio"])
async def test_unknown_malformed_and_foreign_ids_cannot_be_told_apart(
    build: BuildWorld, wav: bytes, suffix: str
) -> None:
    world = await build(KEYED, key="key-a")
    foreign = await submitted(world.client, wav)
    async with world.client_for("key-b") as other:
        bodies = [
            (await other.get(f"/v1/jobs/{job_id}{suffix}")).json()["error"]
            for job_id in (UNKNOWN, foreign["id"], *MALFORMED)
            if "/" not in httpx.URL(f"http://x/{job_id}").path[1:]
        ]

    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["code"] == "not_found"


@pytest.mark.parametrize(("method", "suffix"), [("DELETE", ""), ("DELETE", "?erase=true"), ("POST", "/retry")])
async def test_another_tenants_job_cannot_be_touched(build: BuildWorld, wav: bytes, method: str, suffix: str) -> None:
    world = await build(KEYED, key="key-a", run_jobs=False)
    job = await submitted(world.client, wav)

    async with world.client_for("key-b") as other:
        response = await other.request(method, job["links"]["self"] + suffix)

    assert response.status_code == 404
    assert (await world.jobs.get("tenant-a", job["id"])).status is JobStatus.QUEUED
    assert len(world.stored) == 1


class TestListing:
    async def test_pages_are_newest_first_and_follow_each_other(self, build: BuildWorld, wav: bytes) -> None:
        world = await build(run_jobs=False)
        made = [(await submitted(world.client, wav))["id"] for _ in range(5)]
        seen: list[str] = []
        cursor = None
        while True:
            params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            page = (await world.client.get("/v1/jobs", params=params)).json()
            seen += [job["id"] for job in page["data"]]
            cursor = page["next_cursor"]
            assert page["has_more"] == (cursor is not None)
            if cursor is None:
                break

        assert seen == made[::-1]

    async def test_filters(self, build: BuildWorld, wav: bytes) -> None:
        world = await build(run_jobs=False)
        first = await submitted(world.client, wav, collection="a")
        second = await submitted(world.client, wav, collection="b")
        await world.client.delete(second["links"]["self"])

        async def found(**params: str) -> list[str]:
            response = await world.client.get("/v1/jobs", params=params)
            assert response.status_code == 200, response.text
            return [job["id"] for job in response.json()["data"]]

        assert await found(collection="a") == [first["id"]]
        assert await found(status="cancelled") == [second["id"]]
        assert await found(created_after="2100-01-01T00:00:00Z") == []
        assert len(await found(created_before="2100-01-01T00:00:00+02:00")) == 2

    @pytest.mark.parametrize(
        "params",
        [
            {"status": "sleeping"},
            {"limit": "0"},
            {"limit": "101"},
            {"limit": "many"},
            {"cursor": "made up"},
            {"cursor": "x" * 300},
            {"created_after": "yesterday"},
            {"created_before": "0.35"},
            {"created_after": "0001-01-01T00:00:00+14:00"},
            {"created_before": "9999-12-31T23:59:59-14:00"},
            {"created_after": "2026-01-01T00:00:00"},
            {"collection": "../x"},
        ],
    )
    async def test_wrong_filters_are_named(self, world: World, params: dict[str, str]) -> None:
        response = await world.client.get("/v1/jobs", params=params)

        assert response.status_code == 422, response.text
        assert response.json()["error"]["param"] in params

    async def test_another_tenants_jobs_are_not_listed(self, build: BuildWorld, wav: bytes) -> None:
        world = await build(KEYED, key="key-a", run_jobs=False)
        await submitted(world.client, wav)

        async with world.client_for("key-b") as other:
            assert (await other.get("/v1/jobs")).json()["data"] == []


async def test_a_running_job_shows_its_position_in_the_queue(build: BuildWorld, wav: bytes) -> None:
    world = await build(run_jobs=False)
    jobs = [await submitted(world.client, wav) for _ in range(3)]

    assert [job["queue_position"] for job in jobs] == [1, 2, 3]


@pytest.mark.parametrize(
    ("wanted", "ran", "reason"),
    [("auto", True, None), ("always", True, None), ("never", False, "it was not wanted (enhance: never)")],
)
async def test_a_job_says_whether_its_transcript_was_made_readable(
    build: BuildWorld, wav: bytes, wanted: str, ran: bool, reason: str | None
) -> None:
    templates = await asyncio.to_thread(load_templates, [SHIPPED_TEMPLATES])
    world = await build(language=LanguagePorts(templates=templates, analyst=ExtractiveAnalyst(FakeEmbedder())))
    job = await submitted(world.client, wav, features="clean_transcript", enhance=wanted)
    ended_job = await ended(world.client, job)

    assert ended_job["enhancement"] == {"ran": ran, "reason": reason}
    assert ended_job["results"]["clean_transcript"].startswith("The exam is in june" if ran else "the exam is in june")
    assert bool(ended_job["degraded"]) is ran


async def test_an_unknown_wish_for_enhancement_names_those_that_there_are(world: World, wav: bytes) -> None:
    files = {"file": ("lecture.wav", wav)}
    response = await world.client.post("/v1/jobs", files=files, data={"enhance": "perhaps"})

    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (422, "enhance")
    assert world.stored == []
