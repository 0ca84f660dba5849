"""Guards of the whole suite: no network, no usage statistics, settings from nowhere but the test."""

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import serve_app  # noqa: F401 — switches off usage statistics before any library is imported
from tests import real_models  # noqa: F401 — reads its variable before the settings' variables are removed

GUARD = Path(__file__).parent / "network_guard"

# No test may depend on how busy the machine is, nor on what an earlier run has found.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Guard this process and, through the environment, every process that a test starts."""
    if "NETWORK_GUARD_LOG" not in os.environ:
        handle, path = tempfile.mkstemp(prefix="network-guard-")
        os.close(handle)
        os.environ["NETWORK_GUARD_LOG"] = path
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(GUARD), os.environ.get("PYTHONPATH")]))
    sys.path.insert(0, str(GUARD))
    guard = importlib.import_module("sitecustomize")
    assert Path(str(guard.__file__)).parent == GUARD, "another sitecustomize was loaded first"
    kept = "RAYSCRIBE_TEST_MODELS"  # where genuine weights are: no setting of the product (tests/real_models.py)
    for name in [name for name in os.environ if name.startswith("RAYSCRIBE_") and name != kept]:
        del os.environ[name]
    # Tests of the models that ship find no others; real weights are asked for by tests/real_models.py.
    os.environ["RAYSCRIBE_DATA__ENVIRONMENT_MODELS_FOLDER"] = str(GUARD / "no-models")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no file behind."""
    Path(os.environ["NETWORK_GUARD_LOG"]).unlink(missing_ok=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each package together, in whatever order it was put: an application that a package shares starts once."""
    first = {package: place for place, package in reversed([*enumerate(item.path.parent for item in items)])}
    items.sort(key=lambda item: first[item.path.parent])


@pytest.fixture(autouse=True, scope="session")
def nothing_left_this_machine() -> Iterator[None]:
    """Fail the session if any process of it tried to connect elsewhere."""
    yield
    attempts = Path(os.environ["NETWORK_GUARD_LOG"]).read_text()
    assert not attempts, f"connections to other machines were tried:\n{attempts}"
