"""The arrows between folders: who may import whom. docs/architecture.md draws them; this holds them, file by file."""

import ast
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASE = {"errors", "domain"}
"""What everybody may import."""
ENGINE_ROOM = {"batching", "checkpoints", "engine_errors"}
"""What engines of all capabilities share."""
PIPELINES: Mapping[str, set[str]] = {
    "errors": set(),
    "domain": set(),
    "batching": BASE,
    "checkpoints": set(),
    "engine_errors": {"errors"},
    "ports": BASE,
    "audio": {*BASE, *ENGINE_ROOM, "ports"},
    "recognition": {*BASE, *ENGINE_ROOM, "ports"},
    "speakers": {*BASE, *ENGINE_ROOM, "ports", "audio"},
    "language": {*BASE, *ENGINE_ROOM, "ports"},
    # Answers are generated, and sentences found, as the text skills do it; passages know who spoke.
    "retrieval": {*BASE, *ENGINE_ROOM, "ports", "language", "speakers"},
    "live": {*BASE, "ports", "recognition"},
    # Scores recordings of which is known what was said; references are read as transcripts of other systems are.
    "evaluation": {*BASE, "exchange"},
    # A store ranks and compares by the same pure functions as the fake; it knows no flow.
    "stores": {*BASE, "ports", "retrieval"},
    # Words that have no time of their own get their share, as where speakers are put on them.
    "exchange": {*BASE, "speakers"},
    "jobs": {*BASE, "ports", "outbound", "audio", "recognition", "speakers", "language", "retrieval"},
    "outbound": {*BASE, "ports"},
    # Its tables lie in the job database, which is opened in one way.
    "accounts": {*BASE, "ports", "jobs"},
    "fakes": {*BASE, "ports", "jobs", "language", "retrieval", "stores", "accounts"},
    "__main__": {*BASE, "audio", "recognition", "ports", "speakers"},
}
SERVE_APP: Mapping[str, set[str]] = {
    "client": set(),
    "cli": {"client", "laptop", "models", "settings", "privacy", "metrics", "build", "services"},
    "api": {"settings", "services", "options", "metrics", "ports", "resilience", "mcp"},
    "models": {"settings", "metrics", "data_folder"},
    # Which folder a language model is in, the catalogue says: vLLM is no engine of the chains.
    "remote": {"settings", "models", "resilience", "metrics", "privacy", "deployments", "options", "services"},
    # Tools answer in the routes' own shapes, over the same flows.
    "mcp": {"settings", "services", "api"},
    "laptop": {"settings", "build", "data_folder", "privacy"},
    "deployments": {
        "settings", "models", "metrics", "remote", "ports", "options", "services", "resilience", "api", "data_folder",
        "privacy",
    },
}  # fmt: skip
"""Of the folders; the files beside them compose everything, and are held by what imports them."""
PURE = {
    "pipelines/recognition/judge.py",
    "pipelines/recognition/coverage.py",
    "pipelines/recognition/stitch.py",
    "pipelines/recognition/formats.py",
    "pipelines/speakers/assign.py",
    "pipelines/language/schemas.py",
    "pipelines/language/prompts.py",
    "pipelines/language/text.py",
    "pipelines/language/extraction.py",
    "pipelines/language/entities.py",
    "pipelines/language/grounding.py",
    "pipelines/language/sampling.py",
    "pipelines/retrieval/passages.py",
    "pipelines/retrieval/fusion.py",
    "pipelines/retrieval/words.py",
    "pipelines/retrieval/citations.py",
    "pipelines/retrieval/markers.py",
    "pipelines/jobs/features.py",
    "pipelines/live/agreement.py",
    "pipelines/live/turns.py",
}
"""No await, no port, no clock: a table of inputs and outputs tests them."""


def files(folder: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines() if name.endswith(".py") and (ROOT / name).is_file()]


def imports(file: Path, package: str) -> Iterator[str]:
    """Yield the parts of ``package`` that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != package else [f"{package}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == package and len(parts) > 1:
                yield parts[1]


def part_of(file: Path, package: str) -> str:
    return file.relative_to(ROOT / package).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", files("pipelines"), ids=lambda file: str(file.relative_to(ROOT)))
def test_capabilities_know_what_is_drawn(file: Path) -> None:
    part = part_of(file, "pipelines")
    if part == "__init__":
        return
    known = {name for name in imports(file, "pipelines") if name != "__version__"}
    assert known - PIPELINES[part] - {part} == set()


@pytest.mark.parametrize("file", files("serve_app"), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_serving_side_knows_what_is_drawn(file: Path) -> None:
    part = part_of(file, "serve_app")
    if part in SERVE_APP:
        assert set(imports(file, "serve_app")) - SERVE_APP[part] - {part} == set()


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_files_await_nothing_and_know_no_port(name: str) -> None:
    tree = ast.parse((ROOT / name).read_text())
    asynchronous = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert not [node for node in ast.walk(tree) if isinstance(node, asynchronous)]
    assert "ports" not in set(imports(ROOT / name, "pipelines"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert modules & {"time", "os", "asyncio", "random", "socket"} == set()


@pytest.mark.parametrize("package", ["pipelines", "serve_app"])
def test_folders_can_be_taken_in_at_a_glance(package: str) -> None:
    """About fifteen files: more, and a room has become a hall."""
    counted: dict[Path, int] = {}
    for file in files(package):
        counted[file.parent] = counted.get(file.parent, 0) + (file.name != "__init__.py")
    assert {str(folder.relative_to(ROOT)): count for folder, count in counted.items() if count > 18} == {}


def test_small_files_are_few() -> None:
    """A file under forty lines is one that nobody would look for by its name, but for a few."""
    small = [
        file
        for package in ("pipelines", "serve_app")
        for file in files(package)
        if file.name != "__init__.py" and len(file.read_text().splitlines()) < 40
    ]
    assert len(small) < 15, [str(file.relative_to(ROOT)) for file in small]
