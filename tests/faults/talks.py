"""A recording of many windows, the application that transcribes it with fakes, and what must come of it."""

import json
import ssl
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from pipelines.fakes.rehearsal import Conductor
from pipelines.fakes.scripted_speech import Utterance, write_wav
from tests.serve.conftest import FAKE_MODELS, write_config

SENTENCES = 40
IN_FLIGHT = 8
"""Windows of one job under way at once: twice the fake's batch."""
RECORDING = write_wav(
    [Utterance(start_s=3.0 * n + 0.5, end_s=3.0 * n + 2.5, text=f"sentence {n} of the talk") for n in range(SENTENCES)]
)
"""One window a sentence, where windows last 4 s at most."""
SMALLER = "scripted-small"
"""Name of the transcriber that stands in when the first has no memory; it is never held."""


TLS = ssl.create_default_context()
"""Made once: httpx would make another for each request, at 20 ms of a CPU that the application needs."""


def rehearsed_config(folder: Path, conductor: Conductor, **arguments: Any) -> Path:
    """Write a config whose models can be held, starved and watched by ``conductor``; ``arguments`` are settings."""
    models: dict[str, Any] = json.loads(json.dumps(FAKE_MODELS))
    for role in ("transcriber", "diarizer", "embedder"):
        models[role]["chain"][0]["path"] = str(conductor.folder)
    models["transcriber"]["chain"].append({"backend": "fake", "name": SMALLER})
    models["audio"]["max_window_s"] = 4.0
    return write_config(folder / "config.yaml", {**models, **arguments})


def submit(url: str, collection: str | None = None, recording: bytes = RECORDING) -> httpx.Response:
    """Ask for a transcript, with speakers and indexed where there is a collection."""
    form = {"features": "raw_transcript"}
    if collection is not None:
        form = {"features": "raw_transcript,diarization,index", "collection": collection}
    return httpx.post(f"{url}/v1/jobs", files={"file": ("talk.wav", recording)}, data=form, timeout=60.0, verify=TLS)


def submitted(url: str, collection: str | None = None, recording: bytes = RECORDING) -> str:
    """Submit, and return the acknowledged job's id."""
    response = submit(url, collection, recording)
    assert response.status_code == 202, response.text
    job_id: str = response.json()["id"]
    return job_id


def await_end(url: str, job_id: str, patience_s: float = 120.0) -> dict[str, Any]:
    """Poll until the job has ended; the ingress itself may be down for a while."""
    limit = time.monotonic() + patience_s
    while time.monotonic() < limit:
        try:
            response = read(url, job_id, timeout_s=10.0)
            job: dict[str, Any] = response.json() if response.is_success else {}
        except httpx.HTTPError:
            job = {}
        if job.get("status") in ("succeeded", "failed", "cancelled"):
            return job
        time.sleep(0.1)
    raise AssertionError(f"job {job_id} did not end")


def read(url: str, job_id: str, *, timeout_s: float) -> httpx.Response:
    """Ask for a job."""
    return httpx.get(f"{url}/v1/jobs/{job_id}", timeout=timeout_s, verify=TLS)


def assert_done_once(url: str, job_id: str, collection: str | None = None, patience_s: float = 120.0) -> dict[str, Any]:
    """Wait for the job; it succeeded, exactly once, with every sentence, and its passages are there once."""
    job = await_end(url, job_id, patience_s)
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert terminal_events(url, job_id) == ["succeeded"]
    assert job["results"]["raw_transcript"] == " ".join(f"sentence {n} of the talk" for n in range(SENTENCES))
    if collection is not None:
        found = passages(url, collection)
        assert found == sorted(set(found)), "passages are doubled"
        text = " ".join(passage for _, passage in found) + " "
        assert all(f"sentence {number} of" in text for number in range(SENTENCES))
    return job


def terminal_events(url: str, job_id: str) -> list[str]:
    """Return the names of the events that end a job, as its stream tells them."""
    text = httpx.get(f"{url}/v1/jobs/{job_id}/events", timeout=60.0, verify=TLS).text
    names = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    return [name for name in names if name in ("succeeded", "failed", "cancelled")]


def search(url: str, collection: str, top_k: int = 60) -> httpx.Response:
    """Ask for everything in a collection."""
    body = {"query": "sentence of the talk", "collection": collection, "top_k": top_k}
    return httpx.post(f"{url}/v1/search", json=body, timeout=60.0, verify=TLS)


def passages(url: str, collection: str) -> list[tuple[float, str]]:
    """Return start and text of all passages of a collection, sorted."""
    response = search(url, collection)
    assert response.is_success, response.text
    return sorted((hit["start_s"], hit["text"]) for hit in response.json()["hits"])


def repeated_windows(conductor: Conductor) -> int:
    """Return how many windows were given to the transcriber more than once, each time it was counted."""
    calls = Counter(detail for _, detail in conductor.calls("transcribe"))
    return sum(count - 1 for count in calls.values())
