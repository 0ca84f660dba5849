"""The command line starts fast, because client commands import neither Ray nor models nor the server."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import serve_app
from serve_app.cli.serving import DEFAULT_CONFIG
from tests.cli.conftest import Command

_HEAVY = ("ray", "torch", "fastapi", "starlette", "numpy", "faster_whisper", "transformers", "qdrant_client", "dbos")


def modules_after(*words: str) -> set[str]:
    program = (
        "import sys\nfrom serve_app.cli.application import app\n"
        f"try:\n    app({list(words)!r})\nexcept SystemExit:\n    pass\n"
        "print('\\nMODULES', *{name.partition('.')[0] for name in sys.modules})"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(answer.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("words", [("--help",), ("jobs", "--server", "http://127.0.0.1:9")])
def test_client_commands_import_nothing_heavy(words: tuple[str, ...]) -> None:
    imported = modules_after(*words)
    assert imported.isdisjoint(_HEAVY)
    assert ("httpx" in imported) == (words != ("--help",))


def test_version(rayscribe: Command) -> None:
    assert rayscribe("--version").stdout == "rayscribe 0.1.0\n"


def test_up_serves_the_local_profile_until_stopped(rayscribe: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[Path, int | None, Path | None]] = []

    def run(config: Path, *, port: int | None = None, data: Path | None = None) -> None:
        served.append((config, port, data))

    # The real one imports Ray, which takes longer than all other tests of this folder.
    launch = SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "serve_app.launch", launch)
    monkeypatch.setattr(serve_app, "launch", launch, raising=False)
    assert rayscribe("up").exit_code == 0
    assert rayscribe("up", "--port", "8123", "--data", "folder").exit_code == 0
    assert served == [(DEFAULT_CONFIG, None, None), (DEFAULT_CONFIG, 8123, Path("folder"))]
    assert DEFAULT_CONFIG.is_file()
