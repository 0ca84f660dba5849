"""A changed config deployed over the running application, in the middle of jobs and with clients that never pause."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray import serve

from pipelines.fakes.rehearsal import Conductor
from serve_app.laptop.launch import RunningApplication, redeploy
from tests.faults.processes import eventually, pids_of
from tests.faults.talks import assert_done_once, read, rehearsed_config, search, submit, submitted

pytestmark = [pytest.mark.serve, pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(900)]

DEPLOYMENTS = ("Transcriber", "Diarizer", "Embedder", "PassageStore", "JobRunner", "Ingress")
PAUSE_S = 0.3
MOST_OPEN = 20
FEWER_HITS = 99
"""The changed setting: one hit less than is allowed before."""


@dataclass
class Clients:
    """What clients that never pause have seen."""

    job_ids: list[str] = field(default_factory=list)
    reads: int = 0
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def submit(self, url: str) -> None:
        """Submit jobs; where MOST_OPEN have not ended, watch the oldest instead: the queue has its limit."""
        unended: deque[str] = deque()
        while not self.stop.wait(3 * PAUSE_S):
            with self._noting_failures("submit"):
                if len(unended) < MOST_OPEN:
                    response = submit(url)
                    assert response.status_code == 202, response.text
                    unended.append(response.json()["id"])
                    self.job_ids.append(unended[-1])
                elif self._read(url, unended[0])["status"] == "succeeded":
                    unended.popleft()

    def read(self, url: str, job_id: str) -> None:
        """Read one job's status."""
        while not self.stop.wait(PAUSE_S):
            with self._noting_failures("read"):
                self._read(url, job_id)

    def _read(self, url: str, job_id: str) -> dict[str, Any]:
        response = read(url, job_id, timeout_s=120.0)
        assert response.status_code == 200, response.text
        self.reads += 1
        job: dict[str, Any] = response.json()
        return job

    @contextmanager
    def _noting_failures(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, AssertionError) as error:
            self.failures.append(f"{verb}: {type(error).__name__} {error}")


def test_no_job_is_lost_and_no_request_fails(
    application: RunningApplication, conductor: Conductor, tmp_path: Path
) -> None:
    changed = rehearsed_config(tmp_path, conductor, limits={"search_top_k": FEWER_HITS})
    conductor.hold("transcribe", after=20)
    running = submitted(application.url, "redeployed")
    eventually(lambda: len(conductor.calls("transcribe")) > 20, "the job is in the middle of transcribe")
    before = {name: set(pids_of(name)) for name in DEPLOYMENTS}
    with _clients(application.url, running) as clients:
        redeploy(changed, application)
        eventually(lambda: not before["JobRunner"] & set(pids_of("JobRunner")), "the runner is replaced")
        conductor.release("transcribe")
        eventually(lambda: all(_is_replaced(name, before[name]) for name in DEPLOYMENTS), "all is replaced", 200.0)
        eventually(lambda: serve.status().applications["rayscribe"].status == "RUNNING", "it is whole again", 100.0)
        seen = len(clients.job_ids)
        eventually(lambda: len(clients.job_ids) > seen + 1, "clients are still served")
    assert clients.failures == []
    assert clients.reads > 10
    assert_done_once(application.url, running, "redeployed")
    assert search(application.url, "redeployed", FEWER_HITS).is_success
    assert search(application.url, "redeployed", FEWER_HITS + 1).status_code == 422, (
        "the changed config is not in force"
    )
    assert len(clients.job_ids) > 5
    for job_id in clients.job_ids:
        assert_done_once(application.url, job_id)


@contextmanager
def _clients(url: str, job_id: str) -> Iterator[Clients]:
    clients = Clients()
    threads = [threading.Thread(target=clients.submit, args=(url,))]
    threads += [threading.Thread(target=clients.read, args=(url, job_id)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        clients.stop.set()
        for thread in threads:
            thread.join()


def _is_replaced(name: str, before: set[int]) -> bool:
    now = set(pids_of(name))
    return bool(now) and not now & before
