"""One application with fakes that can be held, for all faults that it survives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.fakes.rehearsal import Conductor
from serve_app.laptop.launch import RunningApplication, serving
from tests.faults.talks import rehearsed_config

QUICK = {"timeout_s": 30.0, "retries": 3, "failures_to_open": 5, "open_s": 2.0}
"""The artifact store's policy, but for its breaker, for which no test should wait half a minute."""


@pytest.fixture(scope="package")
def stage_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the application's config, data and rehearsal are."""
    return tmp_path_factory.mktemp("stage")


@pytest.fixture(scope="package")
def application(stage_folder: Path) -> Iterator[RunningApplication]:
    """The application on real Ray Serve."""
    conductor = Conductor(stage_folder / "rehearsal")
    config = rehearsed_config(stage_folder, conductor, resilience={"artifacts": QUICK})
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HELD_FILES", str(conductor.folder))  # see tests/network_guard/held_files.py
        with serving(config, port=0, data=stage_folder / "data", whole=True) as application:
            yield application


@pytest.fixture
def conductor(stage_folder: Path, application: RunningApplication) -> Iterator[Conductor]:
    """The folder through which its fakes are held, empty before and after."""
    conductor = Conductor(stage_folder / "rehearsal")
    conductor.forget()
    yield conductor
    conductor.forget()
