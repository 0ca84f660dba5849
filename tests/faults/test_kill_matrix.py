"""Every process of the application, killed in the middle of every stage: no job is lost, none finishes twice.

A fake model that is held (``pipelines/fakes/rehearsal.py``) keeps a stage in its middle while a process is killed.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.fakes.rehearsal import Conductor
from pipelines.fakes.scripted_speech import Utterance, write_wav
from serve_app.launch import RunningApplication, serving
from tests.faults.processes import controller_pid, eventually, kill, replica_pids
from tests.serve.conftest import FAKE_MODELS, write_config

pytestmark = [pytest.mark.serve, pytest.mark.faults]

STAGES = ("transcribe", "diarize", "embed")
VICTIMS = ("Transcriber", "Diarizer", "Embedder", "PassageStore", "JobRunner", "Ingress", "ServeController")
SAMPLE = {("Transcriber", "transcribe"), ("JobRunner", "transcribe"), ("JobRunner", "embed")}
"""What `make test` runs of the matrix; the rest is `make test-faults`."""
IN_FLIGHT = 8
"""Windows of one job under way at once: twice the fake's batch. Only those may be decoded twice."""
RECORDING = write_wav(
    [Utterance(start_s=20.0 * n + 1, end_s=20.0 * n + 18, text=f"sentence {n} of the talk") for n in range(12)]
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningApplication, Conductor]]:
    """The application with fakes that can be held, and the folder through which they are."""
    folder = tmp_path_factory.mktemp("kill-matrix")
    conductor = Conductor(folder / "rehearsal")
    models: dict[str, Any] = json.loads(json.dumps(FAKE_MODELS))
    for role in ("transcriber", "diarizer", "embedder"):
        models[role]["chain"][0]["path"] = str(conductor.folder)
    config = write_config(folder / "config.yaml", models)
    with serving(config, port=0, data=folder / "data", whole=True) as application:
        yield application, conductor


@pytest.mark.parametrize(
    ("victim", "verb"),
    [
        pytest.param(victim, verb, marks=[] if (victim, verb) in SAMPLE else [pytest.mark.long])
        for verb in STAGES
        for victim in VICTIMS
    ],
)
def test_a_killed_process_costs_only_what_was_in_flight(
    stage: tuple[RunningApplication, Conductor], victim: str, verb: str
) -> None:
    application, conductor = stage
    conductor.forget()
    conductor.hold(verb)
    collection = f"{victim}-{verb}".lower()
    job_id = _submit(application.url, collection)
    eventually(lambda: bool(conductor.calls(verb)), f"the job is in the middle of {verb}")
    killed = _pids(victim)
    for pid in killed:
        kill(pid)
    conductor.release(verb)
    job = _await_end(application.url, job_id)
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert _terminal_events(application.url, job_id) == ["succeeded"]
    assert _passages(application, collection) == _expected_passages(application, collection)
    repeated = Counter(detail for _, detail in conductor.calls("transcribe"))
    assert sum(count - 1 for count in repeated.values()) <= IN_FLIGHT
    eventually(lambda: bool(_pids(victim)) and not set(_pids(victim)) & set(killed), f"{victim} is back")


def _pids(victim: str) -> list[int]:
    return [controller_pid()] if victim == "ServeController" else replica_pids(victim)


def _submit(url: str, collection: str) -> str:
    form = {"features": "raw_transcript,diarization,index", "collection": collection}
    response = httpx.post(f"{url}/v1/jobs", files={"file": ("talk.wav", RECORDING)}, data=form, timeout=60.0)
    assert response.status_code == 202, response.text
    job_id: str = response.json()["id"]
    return job_id


def _await_end(url: str, job_id: str) -> dict[str, Any]:
    """Poll until the job has ended; the ingress itself may be down for a while."""
    limit = time.monotonic() + 120.0
    while time.monotonic() < limit:
        try:
            response = httpx.get(f"{url}/v1/jobs/{job_id}", timeout=10.0)
            job: dict[str, Any] = response.json() if response.is_success else {}
        except httpx.HTTPError:
            job = {}
        if job.get("status") in ("succeeded", "failed", "cancelled"):
            return job
        time.sleep(0.1)
    raise AssertionError(f"job {job_id} did not end")


def _terminal_events(url: str, job_id: str) -> list[str]:
    text = httpx.get(f"{url}/v1/jobs/{job_id}/events", timeout=60.0).text
    names = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    return [name for name in names if name in ("succeeded", "failed", "cancelled")]


def _hits(application: RunningApplication, collection: str) -> list[dict[str, Any]]:
    body = {"query": "sentence of the talk", "collection": collection, "top_k": 100}
    response = httpx.post(f"{application.url}/v1/search", json=body, timeout=60.0)
    assert response.is_success, response.text
    hits: list[dict[str, Any]] = response.json()["hits"]
    return hits


def _passages(application: RunningApplication, collection: str) -> list[tuple[float, str]]:
    return sorted((hit["start_s"], hit["text"]) for hit in _hits(application, collection))


def _expected_passages(application: RunningApplication, collection: str) -> list[tuple[float, str]]:
    """Each passage once, and every sentence in one of them."""
    found = _passages(application, collection)
    text = " ".join(passage for _, passage in found)
    assert all(f"sentence {number} of" in text for number in range(12))
    return sorted(set(found))


def test_the_rehearsal_folder_is_outside_the_data(stage: tuple[RunningApplication, Conductor]) -> None:
    application, conductor = stage
    assert not conductor.folder.is_relative_to(Path(application.data_folder))
