"""Every process of the application killed at once, in the middle of a stage; started again, it finishes every job."""

from pathlib import Path

import pytest

from pipelines.fakes.rehearsal import Conductor
from pipelines.recognition.transcribe import WAVE_WINDOWS
from tests.faults.application_process import application_process
from tests.faults.processes import eventually
from tests.faults.talks import IN_FLIGHT, SENTENCES, assert_done_once, rehearsed_config, submitted

pytestmark = [pytest.mark.serve, pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.mark.parametrize(("verb", "after"), [("transcribe", WAVE_WINDOWS + 2), ("diarize", 0), ("embed", 0)])
def test_acknowledged_jobs_outlive_every_process(tmp_path: Path, verb: str, after: int) -> None:
    conductor = Conductor(tmp_path / "rehearsal")
    config = rehearsed_config(tmp_path, conductor, runner={"concurrency": 1})
    conductor.hold(verb, after=after)
    with application_process(config, tmp_path / "data") as application:
        running = submitted(application.url, "whole")
        eventually(lambda: len(conductor.calls(verb)) > after, f"the job is in the middle of {verb}")
        waiting = [submitted(application.url, "waiting") for _ in range(2)]
        assert application.kill() > 10
    decoded = len(conductor.calls("transcribe"))
    conductor.release(verb)
    with application_process(config, tmp_path / "data") as application:
        assert_done_once(application.url, running, "whole")
        for job_id in waiting:
            assert_done_once(application.url, job_id)
    assert decoded >= after
    # Each job decodes every window once; what goes beyond that was decoded twice.
    repeated = len(conductor.calls("transcribe")) - (1 + len(waiting)) * SENTENCES
    assert 0 <= repeated <= IN_FLIGHT + WAVE_WINDOWS - 1
