"""Uploads that are too large, too many, repeated, broken off, or not acknowledged: nothing is left behind."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from pipelines.domain.job import Job, NewJob
from pipelines.errors import ArtifactStoreUnavailable, JobStoreUnavailable, QueueFull, TooManyUploads
from pipelines.fakes.jobs import InMemoryJobQueue
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.jobs.submit import QueueLimits
from serve_app.api.edge.errors import UploadTooSlow
from serve_app.api.edge.uploads import UploadGate, UploadPace
from serve_app.settings import LimitSettings, Settings
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import key
from tests.api.forms import FORM, form, submit


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


SHARED = Settings(
    profile="gpu",
    keys=(key("key-a", "tenant-a"), key("key-b", "tenant-b")),
    limits=LimitSettings(concurrent_uploads=3),
)


async def test_one_tenant_does_not_keep_the_others_out(build: BuildWorld, wav: bytes) -> None:
    store = BlockedStore()
    world = await build(SHARED, key="key-a", artifacts=store)
    async with asyncio.TaskGroup() as group:
        first = [group.create_task(submit(world, wav)) for _ in range(2)]
        for _ in first:
            await store.reached.acquire()

        refused = await submit(world, wav)
        async with world.client_for("key-b") as other:
            theirs = group.create_task(other.post("/v1/jobs", files={"file": ("a.wav", wav)}))
            await store.reached.acquire()
            store.let_go.set()
            await theirs

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_uploads")
    assert int(refused.headers["retry-after"]) >= 1
    assert [task.result().status_code for task in (*first, theirs)] == [202, 202, 202]
    assert (await submit(world, wav)).status_code == 202, "their places are free again"


@pytest.mark.parametrize(("places", "own"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_half_of_the_places_are_a_tenants_own_rounded_up(places: int, own: int) -> None:
    gate = UploadGate(places)
    with ExitStack() as held:
        for _ in range(own):
            held.enter_context(gate.admit("a", share=0.5))
        with pytest.raises(TooManyUploads), gate.admit("a", share=0.5):
            pytest.fail("one more than its own")
        for _ in range(places - own):
            held.enter_context(gate.admit("b", share=1.0))
        with pytest.raises(TooManyUploads), gate.admit("c", share=0.5):
            pytest.fail("one more than there are")
    with gate.admit("a", share=0.5):
        pass


class TestPace:
    def test_a_phone_on_a_bad_line_is_fast_enough(self) -> None:
        pace = UploadPace(bytes_per_s=4_096, over_s=60)
        for _ in range(1_000):
            pace.note(5_000, 1.2)

    def test_a_trickle_is_not_though_it_never_stops(self) -> None:
        pace = UploadPace(bytes_per_s=4_096, over_s=60)
        for _ in range(59):
            pace.note(1, 1.0)
        with pytest.raises(UploadTooSlow, match="4,096 bytes a second"):
            pace.note(1, 1.0)

    def test_what_came_fast_does_not_pay_for_a_trickle_later(self) -> None:
        pace = UploadPace(bytes_per_s=4_096, over_s=60)
        pace.note(400_000_000, 60.0)
        pace.note(1, 59.0)
        with pytest.raises(UploadTooSlow):
            pace.note(1, 1.0)

    def test_a_stretch_without_bytes_is_made_up_for_in_the_same_one(self) -> None:
        pace = UploadPace(bytes_per_s=4_096, over_s=60)
        pace.note(10, 50.0)
        pace.note(300_000, 10.0)
        pace.note(1, 59.0)

    def test_no_pace_is_asked_for(self) -> None:
        UploadPace(bytes_per_s=0, over_s=60).note(1, 100_000.0)


async def test_an_upload_that_trickles_gives_its_place_up(build: BuildWorld, wav: bytes) -> None:
    """No client sends a petabyte a second."""
    limits = {"concurrent_uploads": 1, "upload_bytes_per_s": 1e15, "upload_pace_s": 1e-9}
    world = await build(Settings(limits=limits), run_jobs=False)

    async def chunks() -> AsyncIterator[bytes]:
        data = form(wav)
        for position in range(0, len(data), 500):
            yield data[position : position + 500]

    for _ in range(2):
        response = await world.client.post("/v1/jobs", content=chunks(), headers=FORM)
        assert (response.status_code, response.json()["error"]["code"]) == (408, "upload_too_slow")
        assert response.headers["connection"] == "close"
    assert world.stored == []


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


class SlowQueue(InMemoryJobQueue):
    """Takes its time to write a job down."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()

    async def enqueue(self, job: NewJob) -> Job:
        self.asked.set()
        await self.let_go.wait()
        return await super().enqueue(job)


async def test_a_job_that_was_written_has_its_recording_though_its_client_went_away(
    build: BuildWorld, wav: bytes
) -> None:
    queue = SlowQueue()
    world = await build(jobs=queue)
    request = asyncio.create_task(submit(world, wav))
    await queue.asked.wait()

    request.cancel()
    queue.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await request

    [job] = (await world.client.get("/v1/jobs")).json()["data"]
    assert (await world.client.get(job["links"]["audio"])).content == wav


class MuteQueue(InMemoryJobQueue):
    """Writes a job down, and fails to say so."""

    async def enqueue(self, job: NewJob) -> Job:
        await super().enqueue(job)
        raise JobStoreUnavailable("the job database does not answer")


async def test_a_job_that_was_written_is_acknowledged_though_the_database_fell_silent(
    build: BuildWorld, wav: bytes
) -> None:
    world = await build(jobs=MuteQueue())

    response = await submit(world, wav)

    assert response.status_code == 202
    assert len(world.stored) == 1


class TestIdempotency:
    async def test_a_repeat_brings_a_lost_recording_back(self, idle: World, wav: bytes) -> None:
        headers = {"Idempotency-Key": "order-1"}
        first = await idle.client.post("/v1/jobs", files={"file": ("a.wav", wav)}, headers=headers)
        [artifact] = idle.stored
        await idle.artifacts.delete_tree(f"default/{first.json()['id']}")

        again = await idle.client.post("/v1/jobs", files={"file": ("a.wav", wav)}, headers=headers)

        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
        assert idle.stored == [artifact]
        assert await idle.artifacts.read(artifact) == wav

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
