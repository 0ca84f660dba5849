"""The command line starts fast, because client commands import neither Ray nor models nor the server."""

import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

import serve_app.laptop
from demo.demo_server import free_port
from pipelines.errors import ModelUnavailable
from serve_app.cli.serving import DEFAULT_CONFIG
from tests.cli.conftest import Command

_HEAVY = (
    "ray",
    "torch",
    "fastapi",
    "starlette",
    "numpy",
    "faster_whisper",
    "transformers",
    "qdrant_client",
    "qdrant_edge",
    "dbos",
)


Progress = Callable[[Mapping[str, str]], None]


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


def replace_launch(monkeypatch: pytest.MonkeyPatch, run: Callable[..., None]) -> None:
    """Importing the real one imports Ray, which takes longer than all other tests of this folder."""
    launch = SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "serve_app.laptop.launch", launch)
    monkeypatch.setattr(serve_app.laptop, "launch", launch, raising=False)


def test_up_says_in_one_line_what_kept_it_from_starting(rayscribe: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise ModelUnavailable("no asr model could be loaded")

    replace_launch(monkeypatch, run)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = rayscribe("up", "--port", str(listener.getsockname()[1]))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "✗ no asr model could be loaded"
    assert "is taken by" in result.stdout


def test_up_serves_the_local_profile_until_stopped(rayscribe: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[Path, int | None, Path | None]] = []

    def run(config: Path, *, port: int | None, data: Path | None, progress: Progress) -> None:
        served.append((config, port, data))
        progress({"Transcriber": "UPDATING", "Ingress": "HEALTHY"})
        progress({"Transcriber": "HEALTHY", "Ingress": "HEALTHY"})

    replace_launch(monkeypatch, run)
    assert rayscribe("up").exit_code == 0
    port = free_port(18_500)
    result = rayscribe("up", "--port", str(port), "--data", "folder")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["1 of 2 parts ready; starting: Transcriber", "2 of 2 parts ready"]
    assert served == [(DEFAULT_CONFIG, None, None), (DEFAULT_CONFIG, port, Path("folder"))]
    assert DEFAULT_CONFIG.is_file()
