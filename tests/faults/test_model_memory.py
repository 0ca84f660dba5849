"""A model whose memory runs short in the middle of a job on the running application."""

import httpx
import pytest

from pipelines.fakes.rehearsal import Conductor
from serve_app.laptop.launch import RunningApplication
from tests.faults.processes import eventually, kill, pids_of
from tests.faults.talks import SMALLER, assert_done_once, submitted

pytestmark = [pytest.mark.serve, pytest.mark.faults]


def test_the_next_model_of_the_chain_finishes_the_job_and_it_shows(
    application: RunningApplication, conductor: Conductor
) -> None:
    conductor.hold("transcribe", after=10)
    job_id = submitted(application.url)
    eventually(lambda: len(conductor.calls("transcribe")) > 10, "the job is in the middle of transcribe")
    conductor.starve("transcribe")
    conductor.release("transcribe")
    job = assert_done_once(application.url, job_id)
    (degraded,) = (entry for entry in job["degraded"] if entry["stage"] == "transcribe")
    assert (degraded["wanted"], degraded["used"]) == ("scripted", SMALLER)
    assert "no memory" in degraded["reason"]
    assert job["versions"]["asr"]["fallback"]["used"] == SMALLER
    health = httpx.get(f"{application.url}/health/detailed", timeout=30.0).json()
    assert health["status"] == "degraded"
    assert SMALLER in [entry["used"] for entry in health["degraded"]]
    _restore(application)


def _restore(application: RunningApplication) -> None:
    """A new replica begins with the first of the chain again."""
    killed = pids_of("Transcriber")
    for pid in killed:
        kill(pid)
    eventually(lambda: bool(set(pids_of("Transcriber")) - set(killed)), "the transcriber is back")
