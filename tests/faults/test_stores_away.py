"""Stores that are away for a while under the running application: jobs wait, callers hear when to come back."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from pipelines.fakes.rehearsal import Conductor
from pipelines.recognition.transcribe import WAVE_WINDOWS
from serve_app.laptop.launch import RunningApplication
from tests.faults.processes import eventually, kill, pids_of
from tests.faults.talks import assert_done_once, passages, search, submit, submitted

pytestmark = [pytest.mark.serve, pytest.mark.faults]

LOCKED_S = 10.0
AWAY_S = 60.0


def test_a_database_that_is_locked_for_ten_seconds_costs_no_job(
    application: RunningApplication, conductor: Conductor
) -> None:
    before = _recordings(application)
    conductor.hold("transcribe", after=4)
    running = submitted(application.url, "locked")
    eventually(lambda: len(conductor.calls("transcribe")) > 4, "the job is in the middle of transcribe")
    with _exclusive_lock(application.data_folder / "jobs.sqlite"):
        conductor.release("transcribe")
        began_s = time.monotonic()
        answers = []
        while time.monotonic() - began_s < LOCKED_S:
            answers.append(submit(application.url))
            assert httpx.get(f"{application.url}/v1/jobs/{running}", timeout=10.0).is_success, "reading needs no lock"
    assert_done_once(application.url, running, "locked")
    accepted = {answer.json()["id"] for answer in answers if answer.status_code == 202}
    for job_id in accepted:
        assert_done_once(application.url, job_id)
    for answer in answers:
        if answer.status_code != 202:
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "job_store_unavailable")
            assert int(answer.headers["retry-after"]) > 0
    assert _recordings(application) - before == {running, *accepted}, "a refused upload was left behind"
    assert_done_once(application.url, submitted(application.url))


def test_an_artifact_folder_that_cannot_be_written_is_waited_for(
    application: RunningApplication, conductor: Conductor
) -> None:
    before = _recordings(application)
    conductor.hold("transcribe", after=4)
    running = submitted(application.url, "read-only")
    eventually(lambda: len(conductor.calls("transcribe")) > 4, "the job is in the middle of transcribe")
    with _unwritable(application.data_folder / "artifacts"):
        conductor.release("transcribe")
        eventually(lambda: len(conductor.calls("transcribe")) >= WAVE_WINDOWS, "a wave of windows is to be written")
        refused = submit(application.url)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "artifact_store_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert httpx.get(f"{application.url}/v1/jobs/{running}", timeout=10.0).json()["status"] == "running"
        assert httpx.get(f"{application.url}/health/live", timeout=10.0).is_success
    assert_done_once(application.url, running, "read-only")
    assert _recordings(application) - before == {running}, "a refused upload was left behind"


@pytest.mark.long
def test_a_vector_store_that_is_away_for_a_minute_is_waited_for(
    application: RunningApplication, conductor: Conductor
) -> None:
    """The owner of the vector store is killed whenever it is there, for a minute: every call fails or waits."""
    submitted_before = submitted(application.url, "before")
    assert_done_once(application.url, submitted_before, "before")
    conductor.hold("embed")
    running = submitted(application.url, "away")
    eventually(lambda: bool(conductor.calls("embed")), "the job is about to index")
    statuses: list[int] = []
    until_s = time.monotonic() + AWAY_S
    with _killed_again_and_again("PassageStore") as killed:
        conductor.release("embed")
        while time.monotonic() < until_s:
            answer = search(application.url, "before")
            statuses.append(answer.status_code)
            if answer.status_code == 503:
                assert answer.json()["error"]["code"] in ("passage_store_unavailable", "deadline_exceeded")
                assert int(answer.headers["retry-after"]) > 0
    assert len(killed) > 1
    assert 503 in statuses
    assert set(statuses) <= {200, 503}
    assert_done_once_indexed(application.url, running, "away")
    assert passages(application.url, "before"), "what was written before is still there"


def assert_done_once_indexed(url: str, job_id: str, collection: str) -> None:
    """As assert_done_once, once the vector store's breakers let searches through again."""
    eventually(lambda: search(url, collection).status_code == 200, "the vector store answers", patience_s=240.0)
    assert_done_once(url, job_id, collection, patience_s=240.0)


@contextmanager
def _exclusive_lock(database: Path) -> Iterator[None]:
    """Hold SQLite's exclusive lock: nobody else writes."""
    with closing(sqlite3.connect(database, timeout=30.0, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@contextmanager
def _unwritable(artifacts: Path) -> Iterator[None]:
    """Put a file where writes are spooled: no write can begin, whoever tries.

    Taking away the permission would not stop the superuser, as whom containers and CI run.
    """
    spool, aside = artifacts / ".partial", artifacts / ".aside"
    spool.rename(aside)
    spool.touch()
    try:
        yield
    finally:
        spool.unlink()
        spool.mkdir()
        shutil.rmtree(aside)


@contextmanager
def _killed_again_and_again(deployment: str) -> Iterator[list[int]]:
    """Kill every replica of a deployment as soon as it shows, in a thread, until the end of the block."""
    stop, killed = threading.Event(), list[int]()

    def hunt() -> None:
        while not stop.wait(0.2):
            for pid in set(pids_of(deployment)) - set(killed):
                kill(pid)
                killed.append(pid)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        yield killed
    finally:
        stop.set()
        hunter.join()


def _recordings(application: RunningApplication) -> set[str]:
    """Return the ids of all jobs that have a recording in the artifact folder."""
    folder = application.data_folder / "artifacts"
    return {path.parent.parent.name for path in folder.glob("default/*/upload-*/recording")}
