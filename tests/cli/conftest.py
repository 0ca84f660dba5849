from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from serve_app.cli import failures
from serve_app.cli.application import app
from serve_app.client import RayScribeClient
from tests.client.standin import StandIn

Command = Callable[..., Result]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A stand-in that every command talks to."""
    standin = StandIn()

    def open_client(address: str, api_key: str | None, **options: Any) -> RayScribeClient:
        return RayScribeClient(
            address, api_key=api_key, transport=standin.transport, sleep=standin.sleep, patience_s=5.0, **options
        )

    monkeypatch.setattr(failures, "open_client", open_client)
    return standin


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the developer's settings nor the width of a terminal decide a test."""
    for name in ("RAYSCRIBE_SERVER", "RAYSCRIBE_API_KEY", "RAYSCRIBE_DATA__MODELS_FOLDER", "HF_TOKEN", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAYSCRIBE_DATA__FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def rayscribe() -> Command:
    """Run a command line, as typed after ``rayscribe``."""

    def run(*words: str | Path, **options: Any) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], **options)

    return run


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A file to upload."""
    file = tmp_path / "talk.wav"
    file.write_bytes(b"RIFF" + bytes(1000))
    return file
