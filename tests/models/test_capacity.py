"""The capacity model: what it reckons, and that a run of everything together costs what it says."""

import asyncio
import hashlib
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.domain.audio import Window
from pipelines.domain.transcript import TranscriptionOptions, WindowTranscript
from pipelines.fakes.models import FakeDiarizer, FakeEmbedder, FakeTranscriber
from serve_app.cli.application import app
from serve_app.models.capacity import Measured, capacity_of, live_work, matching_settings, measure, tasks_of
from serve_app.settings import Settings

LAPTOP = Measured(
    cores=4,
    core_s={"transcriber": 0.1, "diarizer": 0.05, "embedder": 0.01},
    live_core_s=0.4,
    together_core_s=0.16,
)


def test_hours_calls_and_what_limits_them() -> None:
    found = capacity_of(LAPTOP)
    assert (found.hours_a_day, found.live_calls, found.limit) == (600.0, 20, "transcriber")


def test_machines_add_up() -> None:
    one, eight = capacity_of(LAPTOP), capacity_of(LAPTOP, nodes=8)
    assert (eight.hours_a_day, eight.live_calls) == (8 * one.hours_a_day, 8 * one.live_calls)


@pytest.mark.parametrize("nodes", [1, 5])
def test_the_settings_are_settings(nodes: int) -> None:
    settings = Settings(**yaml.safe_load(yaml.safe_dump(matching_settings(LAPTOP, nodes))))
    assert (settings.transcriber.threads, settings.runner.diarizer_replicas) == (3, nodes)


def burn(rounds: int) -> None:
    """Compute, without holding the interpreter."""
    hashlib.pbkdf2_hmac("sha256", b"speech", b"", rounds)


class BusyTranscriber(FakeTranscriber):
    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        await asyncio.to_thread(burn, 40_000)
        return await super().transcribe(window, options)


class BusyDiarizer(FakeDiarizer):
    async def diarize(self, samples: object, options: Any) -> Any:
        await asyncio.to_thread(burn, 60_000)
        return await super().diarize(samples, options)


async def test_together_it_costs_what_the_roles_cost_alone() -> None:
    transcriber = BusyTranscriber()
    tasks = await tasks_of(transcriber, BusyDiarizer(), FakeEmbedder())
    measured = await measure(tasks, live=await live_work(transcriber), seconds=1.5)
    assert set(measured.core_s) == {"transcriber", "diarizer", "embedder"}
    assert measured.together_core_s == pytest.approx(measured.predicted_core_s, rel=0.35)
    assert capacity_of(measured).limit == "diarizer"


def test_the_command_prints_what_was_found(tmp_path: Any) -> None:
    fake = {"chain": [{"backend": "fake", "name": "scripted"}]}
    roles = dict.fromkeys(("transcriber", "diarizer", "embedder"), fake)
    config = tmp_path / "config.yaml"
    application = {"name": "rayscribe", "import_path": "serve_app.build:build_application", "args": roles}
    config.write_text(
        yaml.safe_dump({"http_options": {"host": "127.0.0.1", "port": 8000}, "applications": [application]})
    )
    found = CliRunner().invoke(app, ["capacity", "--config", str(config), "--seconds", "0.2", "--simulate", "3"])
    assert found.exit_code == 0, found.output
    assert "3 machines like this one" in found.output
    assert Settings(**yaml.safe_load(found.output.partition("# Under args")[2].partition("\n")[2]))
