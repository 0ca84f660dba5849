"""Heavy imports give way to everything else, and hand the ordinary priority back."""

import os
import sys
import threading
from pathlib import Path

import pytest

from serve_app.models.engines import import_patiently

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities by thread")


async def test_an_import_runs_behind_everything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_library.py").write_text("import os\nNICE = os.getpriority(os.PRIO_PROCESS, 0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "heavy_library", raising=False)
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    await import_patiently("heavy_library")

    imported = sys.modules.pop("heavy_library")
    assert max(10, own) == imported.NICE
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


async def test_what_is_not_installed_is_left_to_the_engine() -> None:
    await import_patiently("a_library_that_is_not_installed")
    assert "a_library_that_is_not_installed" not in sys.modules
