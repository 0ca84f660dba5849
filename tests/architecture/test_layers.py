"""The layers that ruff cannot see: what an import really loads, and what an error really survives."""

import inspect
import pickle
import subprocess
import sys

import pytest

from pipelines import errors

ERROR_CLASSES = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, errors.RayScribeError)
]
HEAVY = (
    "ray",
    "starlette",
    "fastapi",
    "torch",
    "transformers",
    "faster_whisper",
    "ctranslate2",
    "av",
    "qdrant_client",
    "qdrant_edge",
)


@pytest.mark.parametrize("module", ["pipelines", "pipelines.ports", "pipelines.errors", "pipelines.fakes.models"])
def test_importing_pipelines_loads_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


@pytest.mark.parametrize("error_class", ERROR_CLASSES, ids=lambda error_class: error_class.__name__)
def test_every_error_survives_pickling(error_class: type[errors.RayScribeError]) -> None:
    error = error_class("what is wrong", "field", 2.5)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is error_class
    assert (copy.message, copy.param, copy.retry_after_s, str(copy)) == ("what is wrong", "field", 2.5, "what is wrong")


def test_every_error_is_drawn_in_the_tree() -> None:
    drawing = errors.__doc__ or ""
    assert [error_class.__name__ for error_class in ERROR_CLASSES if error_class.__name__ not in drawing] == []


def test_error_codes_name_one_class_each() -> None:
    codes = [error_class.code for error_class in ERROR_CLASSES]
    assert len(set(codes)) == len(codes)
