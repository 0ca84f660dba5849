"""CONTRIBUTING.md as a newcomer would follow it: each example is run as it stands there."""

import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.domain.audio import Window
from pipelines.domain.transcript import TranscriptionOptions
from pipelines.fakes.steps import InMemoryStepRunner
from pipelines.jobs import features, result, stages
from pipelines.jobs.artifacts import load_result
from pipelines.jobs.recording import process_recording
from pipelines.ports.models import Transcriber
from serve_app.settings import Section, Settings
from tests.api.conftest import build_world
from tests.jobs.recordings import fake_ports, new_job

GUIDE = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def example(title: str) -> str:
    [code] = re.findall(rf"```python {title}\n(.*?)```", GUIDE, re.DOTALL)
    return str(code)


def run(title: str, **names: Any) -> dict[str, Any]:
    """Run an example where its imports are already there."""
    space = {**names, "__name__": "example"}
    exec(compile(example(title), f"CONTRIBUTING.md, {title}", "exec"), space)
    return space


async def test_a_stage_and_a_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    from collections.abc import Mapping
    from dataclasses import dataclass

    made = run("stage", **vars(stages) | {"dataclass": dataclass, "Mapping": Mapping})
    row = run("feature", Feature=features.Feature)["ROW"]
    table = (*stages.STAGES, made["ROW"])
    for module in (stages, result):
        monkeypatch.setattr(module, "STAGES", table)
    monkeypatch.setattr(stages.plan_stages, "__defaults__", (table,))
    monkeypatch.setitem(features.FEATURES, row.name, row)
    job, ports = new_job("raw_transcript", "word_count"), await fake_ports()
    await process_recording(job, ports, InMemoryStepRunner())
    done = await load_result(ports.artifacts, job.tenant, job.job_id)
    assert done is not None
    assert done.versions["counter"] == {"words": len(str(done.results["raw_transcript"]).split())}
    assert "count" in done.metrics.stage_s


async def test_an_engine() -> None:
    from pipelines.domain import model, transcript
    from pipelines.engine_errors import model_errors

    names = {**vars(transcript), **vars(model), "Window": Window, "model_errors": model_errors}
    engine: Transcriber = run("engine", **names)["EchoTranscriber"]()
    window = Window(index=0, start_s=1.0, end_s=4.0, speech=(), samples=np.zeros(48_000, dtype=np.int16))
    assert (await engine.transcribe(window, TranscriptionOptions())).text == "3 seconds"
    assert (await engine.info()).batch_size == 1


async def test_a_route() -> None:
    from fastapi import APIRouter
    from pydantic import BaseModel

    from serve_app.api.edge.authentication import AnyCaller

    router = run("route", APIRouter=APIRouter, BaseModel=BaseModel, AnyCaller=AnyCaller)["router"]
    world = build_world(Settings())
    world.app.router.routes.extend(router.routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url="http://localhost") as client:
        assert (await client.get("/v1/echo/hello")).json() == {"text": "hello"}


def test_a_setting() -> None:
    from pydantic import Field

    settings = run("setting", Section=Section, Field=Field)["EchoSettings"]
    assert settings().volume == 3
    with pytest.raises(ValidationError):
        settings(volume=12)
    with pytest.raises(ValidationError):
        settings(loudness=1)
