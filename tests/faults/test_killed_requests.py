"""A job about no recording outlives its runner as any other does."""

import httpx
import pytest

from pipelines.fakes.rehearsal import Conductor
from serve_app.laptop.launch import RunningApplication
from tests.faults.processes import eventually, kill, pids_of

pytestmark = [pytest.mark.serve, pytest.mark.faults]
ASKED = {
    "text": "The budget was approved. We agreed to paint the warehouse in June. Nobody asked about the cat.",
    "template_id": "meeting_notes_v1",
}


def test_a_summary_whose_runner_is_killed_is_made_by_the_next(
    application: RunningApplication, conductor: Conductor
) -> None:
    with httpx.Client(base_url=application.url, timeout=60.0) as client:
        at_once = client.post("/v1/text/summarize", json=ASKED).json()
        conductor.forget()
        conductor.hold("embed")
        links = client.post("/v1/text/summarize", json={**ASKED, "background": True}).json()["links"]
        eventually(lambda: bool(conductor.calls("embed")), "the summary is being made")
        for pid in pids_of("JobRunner"):
            kill(pid)
        assert client.get(links["self"]).json()["status"] == "running"
        conductor.release("embed")
        events = client.get(links["events"]).text.splitlines()
        job = client.get(links["self"]).json()
    assert [line for line in events if line in ("event: succeeded", "event: failed")] == ["event: succeeded"]
    assert (job["status"], job["attempts"]) == ("succeeded", 2)
    assert job["results"]["summarize"] == at_once["result"]
