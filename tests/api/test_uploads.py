"""POST /v1/jobs: what comes in, what is refused, and that nothing is left behind."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import pytest

from pipelines.domain.job import Job, NewJob
from pipelines.errors import ArtifactStoreUnavailable, JobStoreUnavailable, QueueFull
from pipelines.fakes.jobs import InMemoryJobQueue
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.steps.check_queue_room import QueueLimits
from serve_app.settings import Settings
from tests.api.conftest import BuildWorld, World

BOUNDARY = "xyz"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.fixture
async def idle(build: BuildWorld) -> World:
    """A world in which jobs wait."""
    world: World = await build(run_jobs=False)
    return world


def form(wav: bytes, fields: str = "") -> bytes:
    """A form as bytes: ``fields`` are further parts, the file comes last."""
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return fields.encode() + head.encode() + wav + f"\r\n--{BOUNDARY}--\r\n".encode()


async def submit(world: World, wav: bytes, filename: str = "lecture.wav", **fields: Any) -> httpx.Response:
    return await world.client.post("/v1/jobs", files={"file": (filename, wav)}, data=fields)


async def test_a_recording_becomes_an_acknowledged_job(idle: World, wav: bytes) -> None:
    response = await submit(idle, wav, features="raw_transcript")

    assert response.status_code == 202, response.text
    job = response.json()
    assert response.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["queue_position"], job["progress"]) == ("queued", 1, 0.0)
    assert job["recording"]["sha256"] == hashlib.sha256(wav).hexdigest()
    assert (job["recording"]["filename"], job["recording"]["bytes"]) == ("lecture.wav", len(wav))
    [artifact] = idle.stored
    assert artifact.startswith(f"default/{job['id']}/")
    assert await idle.artifacts.read(artifact) == wav


async def test_the_body_of_a_job_has_every_key_of_the_contract(idle: World, wav: bytes) -> None:
    job = (await submit(idle, wav)).json()

    assert set(job) >= {
        "id", "object", "status", "stage", "progress", "queue_position", "features", "collection", "template_id",
        "priority",
        "recording", "created_at", "started_at", "finished_at", "attempts", "error", "results", "versions", "metrics",
        "degraded", "links",
    }  # fmt: skip
    assert set(job["recording"]) == {
        "filename", "sha256", "bytes", "duration_s", "container", "codec", "channels", "sample_rate_hz"
    }  # fmt: skip
    assert set(job["results"]) == {
        "raw_transcript", "clean_transcript", "summary", "translation", "entities", "classification", "quality",
        "language", "speakers",
    }  # fmt: skip
    assert set(job["metrics"]) >= {
        "input_duration_s", "processing_s", "rtf", "stage_s", "vad_coverage", "asr_confidence_avg",
        "edit_rate_cleaning", "dropped_spans",
    }  # fmt: skip
    assert set(job["links"]) == {"self", "events", "transcript", "audio"}
    assert job["created_at"].endswith("Z")


async def test_every_field_arrives(idle: World, wav: bytes) -> None:
    fields: dict[str, Any] = {
        "features": ["raw_transcript,diarization", "index"], "collection": "biology-101", "language": "en",
        "priority": "high", "min_speakers": "1", "max_speakers": "3", "prompt": "Krebs cycle", "labels": "a, b,a",
        "metadata": json.dumps({"week": "3"}), "asr_backend": "",
    }  # fmt: skip

    response = await submit(idle, wav, **fields)

    assert response.status_code == 202, response.text
    request = (await idle.jobs.get("default", response.json()["id"])).request
    assert [feature.value for feature in request.features] == ["raw_transcript", "diarization", "index"]
    assert (request.collection, request.language, request.priority) == ("biology-101", "en", "high")
    assert (request.num_speakers, request.min_speakers, request.max_speakers) == (None, 1, 3)
    assert (request.prompt, request.labels, request.metadata) == ("Krebs cycle", ("a", "b"), {"week": "3"})
    assert request.asr_backend is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"features": "telepathy"}, "features"),
        ({"features": ","}, "features"),
        ({"features": "index"}, "collection"),
        ({"priority": "urgent"}, "priority"),
        ({"num_speakers": "two"}, "num_speakers"),
        ({"num_speakers": "0"}, "num_speakers"),
        ({"num_speakers": "1.5"}, "num_speakers"),
        ({"num_speakers": "9" * 5_000}, "num_speakers"),
        ({"min_speakers": "3", "max_speakers": "2"}, "min_speakers"),
        ({"num_speakers": "3", "max_speakers": "3"}, "num_speakers"),
        ({"collection": "../other"}, "collection"),
        ({"collection": "a/b"}, "collection"),
        ({"collection": "x" * 65}, "collection"),
        ({"collection": "a\nb"}, "collection"),
        ({"collection": "a\n"}, "collection"),
        ({"language": "english"}, "language"),
        ({"language": "EN"}, "language"),
        ({"template_id": "meeting_notes_v1"}, "template_id"),
        ({"metadata": "[1]"}, "metadata"),
        ({"metadata": '{"a": 1}'}, "metadata"),
        ({"metadata": "{"}, "metadata"),
        ({"metadata": "[" * 60_000}, "metadata"),
        ({"metadata": '{"a": "\\ud800"}'}, "metadata"),
        ({"prompt": "x" * 2_001}, "prompt"),
        ({"unknown": "1"}, "unknown"),
        ({"tenant": "other"}, "tenant"),
        ({"priority": ["high", "low"]}, "priority"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_stays(
    idle: World, wav: bytes, fields: dict[str, Any], param: str
) -> None:
    response = await submit(idle, wav, **fields)

    assert response.status_code == 422, response.text
    assert response.json()["error"]["param"] == param
    assert response.json()["error"]["code"] == "invalid_field"
    assert idle.stored == []


@pytest.mark.parametrize("name", ["webhook_url", "redact"])
async def test_what_is_not_built_yet_is_refused_not_ignored(idle: World, wav: bytes, name: str) -> None:
    response = await submit(idle, wav, **{name: "x"})

    assert (response.status_code, response.json()["error"]["code"]) == (422, "not_available")
    assert response.json()["error"]["param"] == name


async def test_a_feature_that_is_not_offered_here_is_refused(idle: World, wav: bytes) -> None:
    response = await submit(idle, wav, features="summary", template_id="meeting_notes_v1")

    assert (response.status_code, response.json()["error"]["code"]) == (422, "not_available")
    assert idle.stored == []


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 415, "unsupported_media"),
        (b"this is text, whatever its name says", 415, "unsupported_media"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", 415, None),
    ],
)
async def test_what_is_no_recording_is_refused(idle: World, content: bytes, status: int, code: str | None) -> None:
    response = await submit(idle, content)

    assert response.status_code == status, response.text
    assert code in (None, response.json()["error"]["code"])
    assert idle.stored == []


async def test_too_little_audio_is_refused(idle: World) -> None:
    from pipelines.fakes.scripted_speech import write_wav

    response = await submit(idle, write_wav((), duration_s=0.5))

    assert (response.status_code, response.json()["error"]["code"]) == (422, "audio_too_short")
    assert idle.stored == []


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'{"url": "https://example.org/a.wav"}', {"content-type": "application/json"}, 422),
        (b"--xyz--\r\n", {"content-type": "text/plain"}, 415),
        (b"rubbish", {}, 415),
        (b"rubbish", FORM, 400),
        (b"", FORM, 400),
        (b"", {"content-type": "multipart/form-data"}, 400),
        (form(b"x" * 100)[:-20], FORM, 400),
    ],
)
async def test_bodies_that_are_no_form(idle: World, content: bytes, headers: dict[str, str], status: int) -> None:
    response = await idle.client.post("/v1/jobs", content=content, headers=headers)

    assert response.status_code == status, response.text
    assert idle.stored == []


async def test_submitting_by_url_says_what_it_is(idle: World) -> None:
    response = await idle.client.post("/v1/jobs", json={"url": "https://example.org/a.wav"})

    assert (response.json()["error"]["code"], response.json()["error"]["param"]) == ("not_available", "url")


async def test_an_unbuilt_header_is_refused(idle: World, wav: bytes) -> None:
    response = await idle.client.post("/v1/jobs", files={"file": wav}, headers={"X-Webhook-Secret": "s"})

    assert response.json()["error"]["code"] == "not_available"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\talk.wav", "talk.wav"),
        ("a\x00b\x1b[31m.wav", "ab[31m.wav"),
        ("Vorträge – 講義.wav", "Vorträge – 講義.wav"),
        ("x" * 400, "x" * 255),
        ("/", "recording"),
        ("..", ".."),
    ],
)
async def test_a_file_name_is_for_people_and_never_part_of_a_path(
    idle: World, wav: bytes, sent: str, shown: str
) -> None:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{sent}"\r\n\r\n'
    body = head.encode() + wav + f"\r\n--{BOUNDARY}--\r\n".encode()

    response = await idle.client.post("/v1/jobs", content=body, headers=FORM)

    if response.status_code == 400:
        # A control character in a header: the parser itself refuses it.
        assert "\x00" in sent
        return
    assert response.json()["recording"]["filename"] == shown
    [artifact] = idle.stored
    assert artifact.endswith("/recording")


async def test_an_upload_is_refused_by_its_declared_length_before_a_byte_is_read(build: BuildWorld) -> None:
    world = await build(Settings(limits={"upload_bytes": 1_000}))
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"x"

    headers = {**FORM, "content-length": str(10_000_000)}
    response = await world.client.post("/v1/jobs", content=chunks(), headers=headers)

    assert (response.status_code, response.json()["error"]["code"], read) == (413, "too_large", 0)


async def test_an_upload_is_counted_whatever_it_declared(build: BuildWorld, wav: bytes) -> None:
    world = await build(Settings(limits={"upload_bytes": 1_000}))

    async def chunks() -> AsyncIterator[bytes]:
        data = form(wav)
        for position in range(0, len(data), 500):
            yield data[position : position + 500]

    response = await world.client.post("/v1/jobs", content=chunks(), headers={**FORM, "content-length": "900"})

    assert (response.status_code, response.json()["error"]["param"]) == (413, "file")
    assert world.stored == []


class BlockedStore(InMemoryArtifactStore):
    """Its writes wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Semaphore(0)
        self.let_go = asyncio.Event()

    async def write_stream(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        self.reached.release()
        await self.let_go.wait()
        return await super().write_stream(key, chunks)


async def test_so_many_uploads_at_once_and_no_more(build: BuildWorld, wav: bytes) -> None:
    store = BlockedStore()
    world = await build(Settings(limits={"concurrent_uploads": 2}), artifacts=store)
    async with asyncio.TaskGroup() as group:
        first = [group.create_task(submit(world, wav)) for _ in range(2)]
        for _ in first:
            await store.reached.acquire()

        refused = await submit(world, wav)
        store.let_go.set()

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_uploads")
    assert int(refused.headers["retry-after"]) >= 1
    assert [task.result().status_code for task in first] == [202, 202]
    assert (await submit(world, wav)).status_code == 202


class FullStore(InMemoryArtifactStore):
    """The disk fills up in the middle of a file."""

    async def write_stream(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        await anext(chunks)
        raise ArtifactStoreUnavailable("the artifact store does not write: No space left on device")


async def test_a_disk_that_fills_up_is_a_503_and_the_place_is_free_again(build: BuildWorld, wav: bytes) -> None:
    world = await build(Settings(limits={"concurrent_uploads": 1}), artifacts=FullStore())

    for _ in range(3):
        response = await submit(world, wav)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "artifact_store_unavailable")
        assert response.headers["retry-after"]


async def test_a_store_that_cannot_even_delete_does_not_hide_the_first_error(
    idle: World, logged: list[dict[str, Any]]
) -> None:
    idle.artifacts.read_only = True

    response = await submit(idle, b"text")

    assert response.json()["error"]["code"] == "artifact_store_unavailable"
    assert any(entry["event"] == "upload_left_behind" for entry in logged)


class RefusingQueue(InMemoryJobQueue):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def enqueue(self, job: NewJob) -> Job:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status"),
    [(QueueFull("full", None, 12.0), 429), (JobStoreUnavailable("locked"), 503), (RuntimeError("bug"), 500)],
)
async def test_a_job_that_is_not_acknowledged_leaves_nothing(
    build: BuildWorld, wav: bytes, error: Exception, status: int
) -> None:
    world = await build(jobs=RefusingQueue(error))

    response = await submit(world, wav)

    assert response.status_code == status
    assert ("retry-after" in response.headers) == (status != 500)
    assert world.stored == []


async def test_a_full_queue_says_when_to_come_back(build: BuildWorld, wav: bytes) -> None:
    world = await build(jobs=InMemoryJobQueue(limits=QueueLimits(per_tenant=1)))

    assert (await submit(world, wav)).status_code == 202
    refused = await submit(world, wav)

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    assert len(world.stored) == 1


class TestIdempotency:
    async def test_a_repeat_finds_the_same_job_and_its_copy_is_gone(self, idle: World, wav: bytes) -> None:
        async def send() -> httpx.Response:
            return await idle.client.post(
                "/v1/jobs", files={"file": ("a.wav", wav)}, headers={"Idempotency-Key": "order-1"}
            )

        first, second = await send(), await send()

        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json()["id"] == second.json()["id"]
        assert len(idle.stored) == 1
        assert idle.stored == [(await idle.jobs.get("default", first.json()["id"])).upload.artifact]

    async def test_another_body_under_the_same_key_is_a_conflict_and_the_first_recording_stays(
        self, idle: World, wav: bytes
    ) -> None:
        headers = {"Idempotency-Key": "order-1"}
        first = await idle.client.post("/v1/jobs", files={"file": ("a.wav", wav)}, headers=headers)
        [kept] = idle.stored

        other = await idle.client.post(
            "/v1/jobs", files={"file": ("a.wav", wav)}, data={"language": "en"}, headers=headers
        )

        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
        assert other.headers["x-should-retry"] == "false"
        assert idle.stored == [kept]
        assert first.status_code == 202

    async def test_repeats_at_the_same_time_are_one_job(self, idle: World, wav: bytes) -> None:
        headers = {"Idempotency-Key": "order-1"}

        responses = await asyncio.gather(
            *(idle.client.post("/v1/jobs", files={"file": ("a.wav", wav)}, headers=headers) for _ in range(5))
        )

        assert {response.status_code for response in responses} == {202}
        assert len({response.json()["id"] for response in responses}) == 1
        assert len(idle.stored) == 1

    @pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "schl\u00fcssel".encode()])
    async def test_a_key_that_is_none_is_refused(self, idle: World, wav: bytes, key: str | bytes) -> None:
        headers: Any = {"Idempotency-Key": key}
        response = await idle.client.post("/v1/jobs", files={"file": wav}, headers=headers)

        assert response.status_code == 422
        assert response.json()["error"]["param"].lower() == "idempotency-key"


async def test_a_client_that_goes_away_in_the_middle_leaves_nothing(idle: World, wav: bytes) -> None:
    """The request is cancelled, as Serve does when a client disconnects."""
    sent = asyncio.Event()

    async def chunks() -> AsyncGenerator[bytes, None]:
        data = form(wav)
        yield data[: len(data) // 2]
        sent.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(idle.client.post("/v1/jobs", content=chunks(), headers=FORM))
    await sent.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert idle.stored == []
    assert (await submit(idle, wav)).status_code == 202
