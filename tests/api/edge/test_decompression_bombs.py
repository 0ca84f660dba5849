"""Little files that are hours of audio: refused by their header where it says so, by counting where it does not."""

import pytest

from pipelines.domain.audio import WindowingOptions
from pipelines.fakes.steps import InMemoryStepRunner
from pipelines.jobs.failure import JobFailed
from pipelines.jobs.ports import ProcessingOptions
from pipelines.jobs.recording import process_recording
from serve_app.settings import Settings
from tests.api.conftest import BuildWorld
from tests.api.forms import submit
from tests.audio.containers import encoded
from tests.jobs.recordings import UPLOAD, fake_ports, new_job

LIMIT_S = 60.0
_TOTAL_SAMPLES = (1 << 36) - 1


def silence_claiming(samples: int | None) -> bytes:
    """Return two minutes of silence as FLAC whose header claims a number of samples; 0: unknown, None: the truth.

    STREAMINFO (RFC 9639 § 8.2) ends its eight bytes from offset 18 with 36 bits of total samples.
    """
    data = encoded("flac", duration_s=120.0, rate_hz=16_000, layout="mono", silent=True)
    if samples is None:
        return data
    rest = int.from_bytes(data[18:26]) & ~_TOTAL_SAMPLES
    return data[:18] + (rest | samples).to_bytes(8) + data[26:]


@pytest.mark.parametrize("claimed", [None, _TOTAL_SAMPLES])
async def test_a_header_that_admits_too_much_is_refused_at_once(build: BuildWorld, claimed: int | None) -> None:
    world = await build(Settings(limits={"recording_hours": LIMIT_S / 3600}))
    bomb = silence_claiming(claimed)
    assert len(bomb) < 100_000
    response = await submit(world, bomb, "silence.flac")
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
    assert world.stored == []


async def test_a_header_that_says_nothing_is_found_out_by_counting(build: BuildWorld) -> None:
    world = await build(Settings(limits={"recording_hours": LIMIT_S / 3600}), run_jobs=False)
    assert (await submit(world, silence_claiming(0), "silence.flac")).status_code == 202
    ports = await fake_ports()
    await ports.artifacts.write(UPLOAD.artifact, silence_claiming(0))
    options = ProcessingOptions(windowing=WindowingOptions(max_duration_s=LIMIT_S))
    with pytest.raises(JobFailed) as failed:
        await process_recording(new_job("raw_transcript"), ports, InMemoryStepRunner(), options)
    assert (failed.value.failure.code, failed.value.failure.stage) == ("too_large", "transcribe")
