"""Where a private Ray lives, and what becomes of the folders of those that were killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from serve_app.laptop.private_ray import _identity, _short_folder, sweep_abandoned


def owned(parent: Path, name: str, owner: str) -> Path:
    folder = parent / name
    (folder / "1").mkdir(parents=True)
    (folder / "owner").write_text(owner)
    return folder


def test_only_folders_of_the_dead_are_swept(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    abandoned = owned(tmp_path, "rayscribe-dead", f"{dead.pid} 1.0")
    reused = owned(tmp_path, "rayscribe-reused", f"{os.getpid()} 1.0")
    alive = owned(tmp_path, "rayscribe-alive", _identity(psutil.Process()))
    unknown = owned(tmp_path, "rayscribe-unknown", "somebody")
    other = owned(tmp_path, "another", f"{dead.pid} 1.0")
    sweep_abandoned(tmp_path)
    assert [folder.exists() for folder in (abandoned, reused, alive, unknown, other)] == [
        False,
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(("folder", "kept"), [("/t", True), (f"/{'x' * 40}", False)])
def test_rays_sockets_have_short_names(monkeypatch: pytest.MonkeyPatch, folder: str, kept: bool) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: folder)
    assert (_short_folder() == Path(folder)) is kept
