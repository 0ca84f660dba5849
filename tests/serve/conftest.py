"""Real Ray Serve on this machine: one private Ray a module, engines as its configuration says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serve_app.launch import LOCAL_CONFIG, RunningApplication, serving

FAKE_MODELS = {
    "audio": {"detector": "scripted"},
    "transcriber": {"chain": [{"backend": "fake", "name": "scripted"}]},
    "diarizer": {"chain": [{"backend": "fake", "name": "scripted"}]},
    "embedder": {"chain": [{"backend": "fake", "name": "bag-of-words"}]},
}


def write_config(path: Path, arguments: dict[str, Any]) -> Path:
    """Write the local profile's config with other arguments to ``path``."""
    document = yaml.safe_load(LOCAL_CONFIG.read_text())
    document["applications"][0]["args"].update(arguments)
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def fake_application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApplication]:
    """The whole application with fake engines behind real HTTP, Ray tasks, DBOS, Qdrant and files."""
    folder = tmp_path_factory.mktemp("fake-application")
    with serving(write_config(folder / "config.yaml", FAKE_MODELS), port=0, data=folder / "data") as application:
        yield application


@pytest.fixture
def client(fake_application: RunningApplication) -> Iterator[httpx.Client]:
    """A client of the application with fakes."""
    with httpx.Client(base_url=fake_application.url, timeout=60.0) as client:
        yield client
