"""Genuine model weights for tests: where they are, or why a test is left out.

They lie in the folder that the environment variable ``RAYSCRIBE_TEST_MODELS`` names, else where ``rayscribe models
pull`` puts them, or in the environment, where ``make`` puts them. They are too large to ship, so that a test which
needs them is skipped, with the reason, where they are not.
"""

import os
import sys
from pathlib import Path

import pytest

_NAMED = os.environ.get("RAYSCRIBE_TEST_MODELS")
_FOLDERS = (Path(_NAMED or Path.home() / ".rayscribe" / "models"), Path(sys.prefix) / "models")


def real_model(name: str, *, holding: str = "model.bin") -> Path:
    """Return the folder of a model by its catalogue name; skips the test where the file ``holding`` is not in it."""
    found = (folder / name for folder in _FOLDERS if (folder / name / holding).is_file())
    folder = next(found, None)
    if folder is None:
        places = " nor in ".join(map(str, _FOLDERS))
        pytest.skip(f"{name} is not in {places}: rayscribe models pull {name}, or RAYSCRIBE_TEST_MODELS")
    return folder
