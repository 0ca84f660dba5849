"""What only the DBOS runner promises: it goes on, gives way, waits, upgrades, forgets, and keeps plain JSON."""

import asyncio
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from filelock import FileLock

from pipelines.domain.audio import PieceCut, Window
from pipelines.domain.job import Job, JobEvent, JobFilters, JobResult, JobStatus, NewJob
from pipelines.domain.speakers import Diarization, DiarizationOptions
from pipelines.domain.transcript import TranscriptionOptions, WindowTranscript
from pipelines.errors import (
    CollectionDamaged,
    DeadlineExceeded,
    JobStoreUnavailable,
    ModelError,
    ModelUnavailable,
    NotFound,
    Overloaded,
)
from pipelines.fakes.models import FakeDiarizer, FakeTranscriber
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.jobs.artifacts import load_result
from pipelines.jobs.dbos import changes
from pipelines.jobs.dbos.database import DatabaseThreads
from pipelines.jobs.dbos.queue import DbosJobQueue
from pipelines.jobs.dbos.retention import Retention
from pipelines.jobs.dbos.runner import DbosJobRunner, RunnerOptions
from pipelines.jobs.erase import erase_job
from pipelines.jobs.erasures import Eraser, ErasureJournal
from pipelines.jobs.ports import ProcessingOptions, RecordingPorts
from pipelines.jobs.result import job_events
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.passages import PassageStore
from pipelines.stores.artifacts import FsspecArtifactStore
from pipelines.stores.qdrant.edge_connection import EdgeConnection
from pipelines.stores.qdrant.passages import QdrantPassageStore
from tests.jobs.recordings import DIALOGUE, UPLOAD, fake_ports, new_job
from tests.stores.qdrant.test_erasure import files_with

RAW = "raw_transcript"
SAID = tuple(utterance.text for utterance in DIALOGUE)


def eraser(
    world: "World", store: ArtifactStore, passages: PassageStore | None, journal: ErasureJournal | None = None
) -> Eraser:
    """What erases; without a journal nothing is remembered."""
    return Eraser(queue=world.queue, artifacts=store, passages=passages, journal=journal)


class World:
    """A database, its queue, and the one runner at a time."""

    def __init__(self, path: Path, queue: DbosJobQueue) -> None:
        self.path = path
        self.queue = queue
        self.runner: DbosJobRunner | None = None

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    async def launch(self, ports: RecordingPorts, *, journal: ErasureJournal | None = None, **options: object) -> None:
        settings = RunnerOptions(polling_interval_s=0.02, **options)  # type: ignore[arg-type]  # a test's own fields
        self.runner = await DbosJobRunner.launch(self.url, ports, settings, journal=journal)

    async def stop(self) -> None:
        if self.runner:
            await self.runner.close()
        self.runner = None

    async def finish(self, job: NewJob) -> list[JobEvent]:
        async with asyncio.timeout(60):
            return [event async for event in self.queue.events(job.tenant, job.job_id)]

    async def status(self, job: NewJob) -> JobStatus:
        return (await self.queue.get(job.tenant, job.job_id)).status


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    path = tmp_path / "jobs.sqlite"
    world = World(path, await DbosJobQueue.connect(f"sqlite:///{path}"))
    yield world
    await world.stop()
    await world.queue.close()


class InterruptedTranscriber(FakeTranscriber):
    """Calls ``interrupt`` in its first window, until that has gone through once."""

    def __init__(self, interrupt: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._interrupt = interrupt

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        if window.index == 0 and 0 not in self.windows:
            await self._interrupt()
        return await super().transcribe(window, options)


class TestSuccession:
    async def test_a_successor_goes_on_with_what_a_closed_runner_left(self, world: World) -> None:
        entered, store = asyncio.Event(), InMemoryArtifactStore()

        async def stay() -> None:
            entered.set()
            await asyncio.Event().wait()

        job = new_job(RAW)
        await world.queue.enqueue(job)
        await world.launch(await fake_ports(store, transcriber=InterruptedTranscriber(stay)))
        await asyncio.wait_for(entered.wait(), 60)
        await world.stop()
        assert await world.status(job) is JobStatus.RUNNING
        await world.launch(await fake_ports(store))
        assert (await world.finish(job))[-1].type == "succeeded"
        assert (await world.queue.get(job.tenant, job.job_id)).attempts == 2
        assert sum(key.endswith("prepare.json") for key in store.writes) == 1

    async def test_it_waits_for_the_lock_and_can_be_told_to_stop_waiting(self, world: World) -> None:
        lock = FileLock(f"{world.path}.runner.lock")
        lock.acquire()
        ports = await fake_ports()
        impatient = asyncio.create_task(DbosJobRunner.launch(world.url, ports))
        done, _ = await asyncio.wait({impatient}, timeout=0.3)
        assert not done
        impatient.cancel()
        await asyncio.wait({impatient})
        lock.release()
        await world.launch(ports)

    async def test_jobs_of_an_older_version_start_over_and_skip_by_artifact(self, world: World) -> None:
        entered, store, transcriber = asyncio.Event(), InMemoryArtifactStore(), FakeTranscriber()

        async def stay() -> None:
            entered.set()
            await asyncio.Event().wait()

        running, waiting, cancelled = (new_job(RAW) for _ in range(3))
        await world.queue.enqueue(running)
        stuck = await fake_ports(store, transcriber=InterruptedTranscriber(stay))
        await world.launch(stuck, version="0", concurrency=1)
        await asyncio.wait_for(entered.wait(), 60)
        for job in (waiting, cancelled):
            await world.queue.enqueue(job)
        await world.queue.cancel(cancelled.tenant, cancelled.job_id)
        await world.stop()
        await world.launch(await fake_ports(store, transcriber=transcriber))
        for job in (running, waiting):
            assert (await world.finish(job))[-1].type == "succeeded"
        assert await world.status(cancelled) is JobStatus.CANCELLED
        assert (await world.queue.get(running.tenant, running.job_id)).attempts == 2
        probed = [key for key in store.writes if key == f"acme/{running.job_id}/prepare.json"]
        assert len(probed) == 1

    async def test_an_older_version_can_come_back(self, world: World) -> None:
        ports = await fake_ports()
        for version in ("1", "2", "1"):
            await world.launch(ports, version=version)
            job = new_job(RAW)
            await world.queue.enqueue(job)
            assert (await world.finish(job))[-1].type == "succeeded"
            await world.stop()


class TestPatience:
    async def test_a_read_only_store_is_waited_for(self, world: World) -> None:
        store = InMemoryArtifactStore()

        async def break_and_mend() -> None:
            store.read_only = True
            asyncio.get_running_loop().call_later(1.0, lambda: setattr(store, "read_only", False))

        job = new_job(RAW)
        await world.queue.enqueue(job)
        await world.launch(await fake_ports(store, transcriber=InterruptedTranscriber(break_and_mend)))
        assert (await world.finish(job))[-1].type == "succeeded"

    async def test_a_busy_or_absent_model_is_waited_for_and_the_job_says_how_long(self, world: World) -> None:
        store, refusals = InMemoryArtifactStore(), [ModelUnavailable, Overloaded, DeadlineExceeded, Overloaded]

        async def refuse() -> None:
            if refusals:
                raise refusals.pop()("later", None, 0.05)

        job = new_job(RAW)
        await world.queue.enqueue(job)
        await world.launch(await fake_ports(store, transcriber=InterruptedTranscriber(refuse)))
        assert (await world.finish(job))[-1].type == "succeeded"
        result = await load_result(store, job.tenant, job.job_id)
        assert result is not None
        assert result.metrics.waiting_s is not None
        assert result.metrics.waiting_s >= 4 * 0.05

    async def test_a_waiting_stage_can_be_cancelled(self, world: World) -> None:
        failed_once = asyncio.Event()

        async def be_away() -> None:
            failed_once.set()
            raise ModelUnavailable("no replica answers")

        job = new_job(RAW)
        await world.queue.enqueue(job)
        await world.launch(await fake_ports(transcriber=InterruptedTranscriber(be_away)))
        await asyncio.wait_for(failed_once.wait(), 60)
        await world.queue.cancel(job.tenant, job.job_id)
        async with asyncio.timeout(5):
            await world.queue.settle(job.tenant, job.job_id)
        assert await world.status(job) is JobStatus.CANCELLED

    async def test_a_job_has_a_time_limit_and_may_try_again(self, world: World) -> None:
        async def stay() -> None:
            await asyncio.Event().wait()

        job, store = new_job(RAW), InMemoryArtifactStore()
        await world.queue.enqueue(job)
        limits = ProcessingOptions(timeout_base_s=0.5, timeout_factor=0.01)
        await world.launch(await fake_ports(store, transcriber=InterruptedTranscriber(stay)), processing=limits)
        assert (await world.finish(job))[-1].type == "failed"
        failed = await world.queue.get(job.tenant, job.job_id)
        assert failed.error is not None
        assert (failed.error.code, failed.error.stage) == ("deadline_exceeded", "transcribe")
        await world.stop()
        await world.launch(await fake_ports(store))
        await world.queue.retry(job.tenant, job.job_id)
        assert (await world.finish(job))[-1].type == "succeeded"

    async def test_a_locked_database_delays_a_job_and_refuses_a_new_one(self, world: World) -> None:
        job, locked, gate = new_job(RAW), asyncio.Event(), asyncio.Event()

        async def wait_for_lock() -> None:
            locked.set()
            await gate.wait()

        await world.queue.enqueue(job)
        await world.launch(await fake_ports(transcriber=InterruptedTranscriber(wait_for_lock)))
        await asyncio.wait_for(locked.wait(), 60)
        with closing(sqlite3.connect(world.path, isolation_level=None)) as intruder:
            intruder.execute("BEGIN IMMEDIATE")
            gate.set()
            with pytest.raises(JobStoreUnavailable):
                await world.queue.enqueue(new_job(RAW))
            assert await world.status(job) is JobStatus.RUNNING, "reading goes on"
            intruder.execute("ROLLBACK")
        assert (await world.finish(job))[-1].type == "succeeded"


class Diary:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def running(self, job: NewJob) -> Iterator[None]:
        self.lines.append("begins")
        yield

    def ended(self, status: JobStatus, result: JobResult | None) -> None:
        self.lines.append(f"{status.value} {result is not None}")

    def erasure_failed(self, error: Exception) -> None:
        self.lines.append(f"erasure failed {getattr(error, 'code', None)}")


class TestObserver:
    async def test_it_hears_how_jobs_end(self, world: World) -> None:
        diary, outcomes = Diary(), []

        async def fail() -> None:
            raise ModelError("no window could be decoded")

        for ports in (await fake_ports(), await fake_ports(transcriber=InterruptedTranscriber(fail))):
            job = new_job(RAW)
            await world.queue.enqueue(job)
            await world.launch(ports, observer=diary)
            outcomes.append((await world.finish(job))[-1].type)
            await world.stop()
        assert outcomes == ["succeeded", "failed"]
        assert diary.lines == ["begins", "succeeded True", "begins", "failed False"]


class TestDatabase:
    async def test_a_collections_jobs_are_found_without_reading_all_others(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine = [new_job(collection="rare") for _ in range(3)]
        for job in (*(new_job(collection="common") for _ in range(20)), *mine, new_job(RAW)):
            await world.queue.enqueue(job)
        client, read = world.queue.database.client, list[str]()
        list_workflows = client.list_workflows

        def counted(**filters: Any) -> list[Any]:
            found = list_workflows(**filters)
            read.extend(status.workflow_id for status in found if filters.get("load_input", True))
            return found

        monkeypatch.setattr(client, "list_workflows", counted)
        monkeypatch.setattr("pipelines.jobs.dbos.listing._BATCH", 2)
        page = await world.queue.list_jobs("acme", JobFilters(collection="rare"), cursor=None, limit=10)
        assert {job.job_id for job in page.jobs} == {job.job_id for job in mine}
        assert sorted(read) == sorted(job.job_id for job in mine)

    async def test_a_stuck_database_refuses_at_once_and_holds_up_nothing_else(self, tmp_path: Path) -> None:
        threads, opened = DatabaseThreads(2), threading.Event()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        store = FsspecArtifactStore(str(tmp_path))
        try:
            for _ in range(2):
                with pytest.raises(JobStoreUnavailable):
                    await threads.call(0.01, opened.wait)
            with pytest.raises(JobStoreUnavailable):
                async with asyncio.timeout(10):
                    await threads.call(600.0, opened.wait)
            async with asyncio.timeout(10):
                await store.write("acme/file", b"data")
        finally:
            opened.set()
        await asyncio.wrap_future(threads._pool.submit(opened.wait))  # one of the threads is back
        assert await threads.call(10.0, lambda: "back") == "back"
        threads.close()


class TestEvents:
    async def test_many_who_wait_cost_no_queries_and_hear_at_once(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entered, gate = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            entered.set()
            await gate.wait()

        monkeypatch.setattr(changes, "LONGEST_WAIT_S", 600.0)
        job, queries = new_job(RAW), list[str]()
        await world.queue.enqueue(job)
        await world.launch(await fake_ports(transcriber=InterruptedTranscriber(hold)))
        streams = [asyncio.create_task(world.finish(job)) for _ in range(20)]
        await asyncio.wait_for(entered.wait(), 60)

        def note(*arguments: Any) -> None:
            queries.append(arguments[2])

        looks = count_looks(world, monkeypatch)
        for _ in range(10):  # until all have read what there is
            await asyncio.wait_for(looks.acquire(), 10)
        sqlalchemy.event.listen(world.queue.database.engine, "before_cursor_execute", note)
        for _ in range(20):
            await asyncio.wait_for(looks.acquire(), 10)
        sqlalchemy.event.remove(world.queue.database.engine, "before_cursor_execute", note)
        costly = [query for query in queries if "data_version" not in query]
        assert len(costly) < len(streams), "a slow look at all of them together"
        gate.set()
        told = await asyncio.gather(*streams)
        assert all(events == told[0] for events in told)
        assert told[0][-1].type == "succeeded"

    async def test_whoever_reads_when_the_database_goes_away_is_told(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise sqlalchemy.exc.OperationalError("SELECT", {}, Exception("gone"))

        def go_away() -> None:
            monkeypatch.setattr(world.queue, "_look", fail)
            fail()

        monkeypatch.setattr(changes, "LONGEST_WAIT_S", 600.0)
        job = new_job(RAW)
        await world.queue.enqueue(job)
        monkeypatch.setattr(world.queue._changes, "_is_written", go_away)
        with pytest.raises(JobStoreUnavailable):
            await world.finish(job)

    @pytest.mark.parametrize("ending", ["cancelled", "failing", "deaf"])
    async def test_whoever_waits_goes_on_though_the_watch_ends_fails_or_hears_nothing(
        self, world: World, monkeypatch: pytest.MonkeyPatch, ending: str
    ) -> None:
        def fail() -> bool:
            raise RuntimeError("nobody expects this")

        watch = world.queue._changes
        monkeypatch.setattr(changes, "LONGEST_WAIT_S", 0.1 if ending == "deaf" else 600.0)
        job = new_job(RAW)
        await world.queue.enqueue(job)
        streams = [asyncio.create_task(world.finish(job)) for _ in range(2)]
        looks = count_looks(world, monkeypatch)
        await asyncio.wait_for(looks.acquire(), 10)
        assert watch._watch is not None
        if ending == "failing":
            monkeypatch.setattr(watch, "_is_written", fail)
        elif ending == "deaf":
            monkeypatch.setattr(watch, "_tell", lambda _marks: None)
        else:
            watch._watch.cancel()
        await world.launch(await fake_ports())
        told = await asyncio.gather(*streams)
        assert [events[-1].type for events in told] == ["succeeded", "succeeded"]

    async def test_whoever_waits_when_the_queue_is_closed_is_told(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = new_job(RAW)
        await world.queue.enqueue(job)
        stream = asyncio.create_task(world.finish(job))
        looks = count_looks(world, monkeypatch)
        await asyncio.wait_for(looks.acquire(), 10)
        await world.queue._changes.close()
        with pytest.raises(JobStoreUnavailable):
            await stream


def count_looks(world: World, monkeypatch: pytest.MonkeyPatch) -> asyncio.Semaphore:
    """Return what is released whenever the watch begins to look."""
    looks, look = asyncio.Semaphore(0), world.queue._changes._is_written
    loop = asyncio.get_running_loop()

    def counted() -> bool:
        loop.call_soon_threadsafe(looks.release)
        return look()

    monkeypatch.setattr(world.queue._changes, "_is_written", counted)
    return looks


class TestContents:
    async def test_database_and_logs_hold_no_words_of_errors(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        good, bad = new_job(), new_job()

        async def fail_once() -> None:
            raise ZeroDivisionError("a secret")

        await world.queue.enqueue(good)
        await world.launch(await fake_ports())
        await world.finish(good)
        await world.stop()
        await world.queue.enqueue(bad)
        await world.launch(await fake_ports(transcriber=InterruptedTranscriber(fail_once)))
        await world.finish(bad)
        values = await asyncio.to_thread(stored_values, world.path)
        assert len(values) > 20
        for value in values:
            json.loads(value)
            assert "Traceback" not in value
            assert "a secret" not in value
        assert "a secret" not in caplog.text
        assert "ZeroDivisionError" in caplog.text

    @pytest.mark.parametrize("by", ["its owner", "retention"])
    async def test_what_was_said_is_in_no_file_of_the_database_and_with_the_job_goes_what_was_asked(
        self, world: World, tmp_path: Path, by: str
    ) -> None:
        vectors = EdgeConnection(tmp_path / "qdrant", pause_s=0.0)
        store, passages = FsspecArtifactStore(str(tmp_path / "artifacts")), QdrantPassageStore(vectors)
        upload = replace(UPLOAD, filename="Quetzal.wav")
        job = new_job(upload=upload, prompt="Zebulon", labels=("Xylograph",), metadata={"course": "Ypsilanti"})
        await world.queue.enqueue(job)
        await world.launch(await fake_ports(store, passages=passages))
        told = [event async for event in job_events(world.queue, store, job.tenant, job.job_id)]
        assert [event.data["text"] for event in told if event.type == "window"] == list(SAID)
        asked = ("Quetzal", "Zebulon", "Xylograph", "Ypsilanti")
        assert files_with(tmp_path / "qdrant", SAID[0])
        assert all(database_files_with(world.path, word) for word in asked)
        assert not any(database_files_with(world.path, word) for word in SAID)
        if by == "retention":
            expired = Retention(
                database=world.queue.database, artifacts=store, eraser=eraser(world, store, passages), keep_s=-60.0
            )
            assert await expired.erase_expired() == 1
        else:
            await erase_job(world.queue, store, passages, job.tenant, job.job_id)
        assert vectors.cleaning is not None
        await vectors.cleaning
        for word in (*SAID, *asked):
            assert not database_files_with(world.path, word)
            assert not files_with(tmp_path / "qdrant", word)
        assert await store.list_keys(f"acme/{job.job_id}") == ()
        await vectors.close()

    async def test_expired_jobs_are_erased_and_others_are_not(self, world: World) -> None:
        store, passages = InMemoryArtifactStore(), InMemoryPassageStore()
        old, waiting = new_job(), new_job(RAW)
        await world.queue.enqueue(old)
        await world.launch(await fake_ports(store, passages=passages))
        await world.finish(old)
        await world.stop()
        await world.queue.enqueue(waiting)
        kept = Retention(
            database=world.queue.database, artifacts=store, eraser=eraser(world, store, passages), keep_s=3600.0
        )
        assert await kept.erase_expired() == 0
        assert await load_result(store, old.tenant, old.job_id) is not None
        expired = Retention(
            database=world.queue.database, artifacts=store, eraser=eraser(world, store, passages), keep_s=-60.0
        )
        assert await expired.erase_expired() == 1
        with pytest.raises(NotFound):
            await world.queue.get(old.tenant, old.job_id)
        assert await store.list_keys(f"acme/{old.job_id}") == ()
        assert await passages.passages("acme", "biology", old.job_id) == ()
        assert await world.status(waiting) is JobStatus.QUEUED

    async def test_a_job_that_cannot_be_erased_keeps_no_other(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class DamagedCollection(InMemoryPassageStore):
            async def delete_job(self, tenant: str, collection: str, job_id: str, *, from_position: int = 0) -> None:
                if job_id == damaged.job_id:
                    raise CollectionDamaged("this collection's files cannot be loaded")
                await super().delete_job(tenant, collection, job_id, from_position=from_position)

        async def lose(tenant: str, job_id: str) -> Job:
            if job_id == lost.job_id:
                raise NotFound("there is no such job")
            return await found(tenant, job_id)

        store, diary, found = InMemoryArtifactStore(), Diary(), world.queue.get
        damaged, lost, good, last = jobs = [new_job() for _ in range(4)]
        for job in jobs:
            await world.queue.enqueue(job)
        await world.launch(await fake_ports(store))
        for job in jobs:
            await world.finish(job)
        await world.stop()
        monkeypatch.setattr("pipelines.jobs.dbos.retention._BATCH", 1)
        monkeypatch.setattr(world.queue, "get", lose)
        retention = Retention(
            database=world.queue.database,
            artifacts=store,
            eraser=eraser(world, store, DamagedCollection()),
            keep_s=-60.0,
            observer=diary,
        )
        async with asyncio.timeout(30):
            assert await retention.erase_expired() == 2
        page = await world.queue.list_jobs("acme", JobFilters(), cursor=None, limit=10)
        assert {job.job_id for job in page.jobs} == {damaged.job_id, lost.job_id}
        assert diary.lines == ["erasure failed collection_damaged"]
        assert not await store.list_keys(f"acme/{good.job_id}")
        assert not await store.list_keys(f"acme/{last.job_id}")

    async def test_leftovers_go_though_jobs_are_kept(self, world: World, tmp_path: Path) -> None:
        store, waiting = FsspecArtifactStore(str(tmp_path / "artifacts")), new_job(RAW)
        await world.queue.enqueue(waiting)
        mine, lost = f"acme/{waiting.job_id}/upload-1/recording", "acme/no-such-job/upload-1/recording"
        for key in (mine, lost, "acme/requests/1/recording"):
            await store.write(key, b"data")
            os.utime(tmp_path / "artifacts" / key, (0, 0))
        kept = Retention(database=world.queue.database, artifacts=store, eraser=eraser(world, store, None), keep_s=None)
        assert await kept.erase_expired() == 0
        assert await store.keys() == (mine,)
        assert await world.status(waiting) is JobStatus.QUEUED

    async def test_erasure_runs_on_schedule(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        job = new_job(RAW)
        await world.queue.enqueue(job)
        monkeypatch.setattr("pipelines.jobs.dbos.runner.HOURLY", "* * * * * *")
        await world.launch(await fake_ports(), keep_results_s=0.0)
        async with asyncio.timeout(60):
            while (await world.queue.list_jobs("acme", JobFilters(), cursor=None, limit=1)).jobs:  # noqa: ASYNC110 — no event says so
                await asyncio.sleep(0.1)


def database_files_with(database: Path, word: str) -> list[Path]:
    """Return which of the database's files, its log among them, hold a word."""
    files = [found for found in database.parent.glob(f"{database.name}*") if found.is_file()]
    return [found for found in files if word.encode() in found.read_bytes()]


def stored_values(path: Path) -> list[str]:
    """Return every serialized value of the database."""
    places = [
        ("workflow_input", "inputs"),
        ("workflow_output", "output"),
        ("workflow_output", "error"),
        ("operation_outputs", "output"),
        ("operation_outputs", "error"),
        ("streams", "value"),
        ("workflow_status", "attributes"),
    ]
    with closing(sqlite3.connect(path)) as database:
        return [
            value
            for table, column in places
            for (value,) in database.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
        ]


class HoldingDiarizer(FakeDiarizer):
    """Hears pieces, and then never says who speaks, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(pieces=PieceCut(own_samples=20 * 16_000))
        self.holds = asyncio.Event()
        self._error = error

    async def tell_apart(self, heard: Sequence[bytes], options: DiarizationOptions) -> Diarization:
        self.holds.set()
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()
        raise AssertionError


class TestVoices:
    @pytest.mark.parametrize("end", ["cancelled", "failed"])
    async def test_none_is_left_of_a_job_that_ended_before_it_was_known_who_speaks(
        self, world: World, end: str
    ) -> None:
        job, store = new_job("raw_transcript", "diarization"), InMemoryArtifactStore()
        diarizer = HoldingDiarizer(ModelError("it gave up") if end == "failed" else None)
        await world.queue.enqueue(job)
        await world.launch(await fake_ports(store, diarizer=diarizer))
        async with asyncio.timeout(30):
            await diarizer.holds.wait()
        if end == "cancelled":
            assert await store.list_keys(f"{job.tenant}/{job.job_id}/diarize"), "pieces are kept until it is known"
            await world.queue.cancel(job.tenant, job.job_id)
            await world.queue.settle(job.tenant, job.job_id)
        else:
            await world.finish(job)
        assert (await world.status(job)).value == end
        assert await store.list_keys(f"{job.tenant}/{job.job_id}/diarize") == ()


class TestRestoredBackup:
    async def test_what_was_erased_does_not_come_back_with_a_backup(self, world: World, tmp_path: Path) -> None:
        data, journal = tmp_path / "data", ErasureJournal(FsspecArtifactStore(str(tmp_path / "journal")))
        store = FsspecArtifactStore(str(data / "artifacts"))
        erased, kept = new_job(), new_job()
        async with opened(data) as passages:
            await world.launch(await fake_ports(store, passages=passages), journal=journal)
            for job in (erased, kept):
                await world.queue.enqueue(job)
                await world.finish(job)
            await world.stop()
        await asyncio.to_thread(back_up, world.path, data, tmp_path / "backup")
        async with opened(data) as passages:
            entry = await eraser(world, store, passages, journal).erase(erased.tenant, erased.job_id)
        assert entry is not None
        assert (entry.kind, entry.target, entry.passages) == ("job", erased.job_id, 2)
        assert entry.artifacts is not None
        assert entry.artifacts >= 6
        assert not files_with(data, erased.job_id)

        await world.queue.close()
        await asyncio.to_thread(restore, world.path, data, tmp_path / "backup")
        world.queue = await DbosJobQueue.connect(world.url)
        assert await world.status(erased) is JobStatus.SUCCEEDED, "the backup has it"
        async with opened(data) as passages:
            await world.launch(await fake_ports(store, passages=passages), journal=journal)
            assert world.runner is not None
            assert world.runner._replaying is not None
            assert await world.runner._replaying == 1
            with pytest.raises(NotFound):
                await world.queue.get(erased.tenant, erased.job_id)
            assert await store.list_keys(f"{erased.tenant}/{erased.job_id}") == ()
            assert await passages.passages("acme", "biology", erased.job_id) == ()
            assert len(await passages.passages("acme", "biology", kept.job_id)) == 2
            assert await world.status(kept) is JobStatus.SUCCEEDED
            await world.stop()

    async def test_a_job_that_was_made_after_its_erasure_stays(self, world: World) -> None:
        journal, store = ErasureJournal(InMemoryArtifactStore()), InMemoryArtifactStore()
        again = new_job(RAW)
        await journal.begin(again.tenant, "job", again.job_id, "asked")
        later = replace(again, created_at="2199-01-01T00:00:00.000Z")
        await world.queue.enqueue(later)
        assert await eraser(world, store, None, journal).replay() == 0
        assert await world.status(later) is JobStatus.QUEUED

    async def test_what_came_back_without_its_record_is_removed_too(self, world: World) -> None:
        journal, store = ErasureJournal(InMemoryArtifactStore()), InMemoryArtifactStore()
        passages = InMemoryPassageStore()
        await journal.begin("acme", "job", "0192-gone", "asked")
        await store.write("acme/0192-gone/transcribe.json", b"{}")
        await store.write("acme/0192-other/transcribe.json", b"{}")
        assert await eraser(world, store, passages, journal).replay() == 1
        assert await store.keys() == ("acme/0192-other/transcribe.json",)
        assert await eraser(world, store, passages, journal).replay() == 0

    async def test_an_entry_that_cannot_be_read_does_not_keep_the_others(self, world: World) -> None:
        kept, store = InMemoryArtifactStore(), InMemoryArtifactStore()
        journal = ErasureJournal(kept)
        await journal.begin("acme", "job", "0192-gone", "asked")
        await kept.write("acme/00000000-damaged.json", b"{")
        await store.write("acme/0192-gone/transcribe.json", b"{}")
        assert await eraser(world, store, None, journal).replay() == 1


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[QdrantPassageStore]:
    """The passages of a data folder, by the engine in this process."""
    store = QdrantPassageStore(EdgeConnection(data / "qdrant", pause_s=0.0))
    try:
        yield store
    finally:
        await store.close()


def back_up(database: Path, data: Path, backup: Path) -> None:
    shutil.copytree(data, backup / "data")
    for file in database.parent.glob(f"{database.name}*"):
        shutil.copy(file, backup / file.name)


def restore(database: Path, data: Path, backup: Path) -> None:
    shutil.rmtree(data)
    shutil.copytree(backup / "data", data)
    for file in database.parent.glob(f"{database.name}*"):
        file.unlink()
    for file in backup.glob(f"{database.name}*"):
        shutil.copy(file, database.parent / file.name)
