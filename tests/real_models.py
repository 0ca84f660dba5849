"""Genuine model weights for tests: where they are, or why a test is left out.

They lie in the folder that the environment variable ``RAYSCRIBE_TEST_MODELS`` names, by default where
``rayscribe models pull`` puts them. They are too large to ship, so that a test which needs them is skipped, with the
reason, where they are not.
"""

import os
from pathlib import Path

import pytest

MODELS = Path(os.environ.get("RAYSCRIBE_TEST_MODELS") or Path.home() / ".rayscribe" / "models")


def real_model(name: str, *, holding: str = "model.bin") -> Path:
    """Return the folder of a model by its catalogue name; skips the test where the file ``holding`` is not in it."""
    folder = MODELS / name
    if not (folder / holding).is_file():
        pytest.skip(f"{name} is not in {MODELS}: rayscribe models pull {name}, or RAYSCRIBE_TEST_MODELS")
    return folder
