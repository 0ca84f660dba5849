"""Every process of the application, killed in the middle of every stage: no job is lost, none finishes twice.

A fake model that is held (``pipelines/fakes/rehearsal.py``) keeps a stage in its middle while a process is killed; so
does a file that is held (``tests/network_guard/held_files.py``) where a stage asks no model.
"""

import pytest

from pipelines.fakes.rehearsal import Conductor
from pipelines.recognition.transcribe import WAVE_WINDOWS
from serve_app.laptop.launch import RunningApplication
from tests.faults.processes import CONTROLLER, eventually, kill, pids_of
from tests.faults.talks import IN_FLIGHT, assert_done_once, repeated_windows, submitted

pytestmark = [pytest.mark.serve, pytest.mark.faults]

READS_OF_AN_UPLOAD = 1
"""The ingress looks into a recording before it acknowledges the job."""
STAGES = {
    "read-recording": READS_OF_AN_UPLOAD,
    "transcribe": WAVE_WINDOWS + 2,
    "diarize": 0,
    "write-attribute.json": 0,
    "embed": 0,
    "write-index.json": 0,
    "write-result.json": 0,
}
"""Verb that is held → how many of its calls go through before. In order: the stage prepare; transcribe, where a wave of
windows is finished and the next begun; diarize; attribute; index, before the vectors and after they are stored; and the
result, before it is there for others."""
VICTIMS = ("Transcriber", "Diarizer", "Embedder", "PassageStore", "JobRunner", "Ingress", CONTROLLER)
SAMPLE = {("Transcriber", "transcribe"), ("JobRunner", "transcribe"), ("JobRunner", "embed")}
"""What `make test` runs of the matrix; the rest is `make test-faults`."""
MAY_REPEAT = {"Transcriber": IN_FLIGHT, "JobRunner": IN_FLIGHT + WAVE_WINDOWS - 1}
"""Windows that may be decoded twice: those a replica was working on; for a runner, those of no written wave. No other
process has windows."""


@pytest.mark.parametrize(
    ("victim", "verb"),
    [
        pytest.param(victim, verb, marks=[] if (victim, verb) in SAMPLE else [pytest.mark.long])
        for verb in STAGES
        for victim in VICTIMS
    ],
)
def test_a_killed_process_costs_only_what_was_in_flight(
    application: RunningApplication, conductor: Conductor, victim: str, verb: str
) -> None:
    conductor.hold(verb, after=STAGES[verb])
    collection = f"{victim}-{verb.partition('.')[0]}".lower()
    job_id = submitted(application.url, collection)
    eventually(lambda: len(conductor.calls(verb)) > STAGES[verb], f"the job is in the middle of {verb}")
    killed = pids_of(victim)
    assert killed
    for pid in killed:
        kill(pid)
    conductor.release(verb)
    assert_done_once(application.url, job_id, collection)
    assert repeated_windows(conductor) <= MAY_REPEAT.get(victim, 0)
    eventually(lambda: bool(pids_of(victim)) and not set(pids_of(victim)) & set(killed), f"{victim} is back")
