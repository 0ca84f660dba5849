"""Prose that cannot rot: what the documents name exists, and what is configured is explained."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from serve_app import settings
from serve_app.cli.application import app
from serve_app.settings import Section, Settings
from tests.api.conftest import build_world

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CLIENT_VARIABLES = {"RAYSCRIBE_SERVER", "RAYSCRIBE_API_KEY"}
"""Read by the command line, not by the server."""


def documents() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def command_tree() -> dict[str, Any]:
    """Return every command by the words that call it, after ``rayscribe``."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        yield " ".join(words), command
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*words, name))

    return dict(walk(typer.main.get_command(app), ()))


def called(text: str) -> set[tuple[str, ...]]:
    """Return the words after each ``rayscribe`` that look like commands."""
    return {
        tuple(found.split())
        for found in re.findall(r"(?<![\w/.~-])(?:\.venv/bin/)?rayscribe((?: [a-z]+(?:-[a-z]+)*)+)", text)
    }


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_linked_files_exist(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    local = [target for target in targets if not target.startswith(("http:", "https:", "mailto:"))]
    assert [target for target in local if not (document.parent / target).exists()] == []


def test_linked_headings_exist() -> None:
    headings = {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in README.splitlines()
                if line.startswith("#")}  # fmt: skip
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= headings


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z -]+?)`|^make ([a-z-]+)", text, re.MULTILINE))
    assert {word for groups in named for group in groups for word in group.split()} <= targets


def test_commands_exist() -> None:
    commands = command_tree()
    code = "\n".join(re.findall(r"```.*?```|`[^`]+`", README, re.DOTALL))
    found = called(code)
    assert ("submit",) in {words[:1] for words in found}
    unknown = [words for words in found if not {words[0], " ".join(words[:2])} & set(commands)]
    assert unknown == []


def test_options_exist() -> None:
    commands = command_tree()
    lines = [line for line in README.splitlines() if "rayscribe " in line]
    for line in lines:
        for words, rest in re.findall(r"rayscribe ((?:models |keys )?[a-z]+)([^`#]*)", line):
            if words in commands:
                offered = {name for option in commands[words].params for name in option.opts}
                assert set(re.findall(r"--[a-z-]+", rest)) <= offered, line


def test_commands_are_all_in_the_readme_or_its_help() -> None:
    named = {" ".join(words[:2]) for words in called(README)} | {words[0] for words in called(README)}
    leaves = {words for words, command in command_tree().items() if words and not hasattr(command, "commands")}
    assert leaves - named <= {"chat"}, "a command that the README does not mention is a command that nobody finds"


def test_routes_exist() -> None:
    paths: dict[str, Any] = build_world(Settings()).app.openapi()["paths"]
    offered = {re.sub(r"\{[^}]*\}", "{}", path) for path in paths}
    named = re.findall(r"(?:(?:GET|POST|PUT|DELETE) |127\.0\.0\.1:8000)(/(?:v1/|health)[\w/{}$.-]*)", README)
    assert len(named) > 5
    assert {re.sub(r"\{[^}]*\}|\$[A-Z]+", "{}", path) for path in named} - offered == set()


def test_environment_variables_exist() -> None:
    named = set(re.findall(r"RAYSCRIBE_[A-Z_]+", README)) - CLIENT_VARIABLES
    assert named
    assert {name for name in named if not is_setting(name.removeprefix("RAYSCRIBE_").lower().split("__"))} == set()


def is_setting(names: list[str]) -> bool:
    section: Any = Settings
    for name in names:
        fields = getattr(section, "model_fields", {})
        if name not in fields:
            return False
        section = fields[name].annotation
    return True


def test_python_in_the_readme_compiles_and_uses_the_default_address() -> None:
    snippets = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert snippets
    for snippet in snippets:
        ast.parse(snippet)
        for name in re.findall(r'open\("([^"]+)"', snippet):
            assert (ROOT / name).is_file()


def settings_fields() -> Iterator[tuple[str, ast.AnnAssign, ast.stmt | None]]:
    tree = ast.parse(Path(settings.__file__).read_text(encoding="utf-8"))
    for group in tree.body:
        if isinstance(group, ast.ClassDef):
            for statement, following in zip(group.body, [*group.body[1:], None], strict=True):
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    yield f"{group.name}.{statement.target.id}", statement, following


@pytest.mark.parametrize(
    ("statement", "following"),
    [pytest.param(statement, following, id=name) for name, statement, following in settings_fields()],
)
def test_every_setting_is_explained(statement: ast.AnnAssign, following: ast.stmt | None) -> None:
    if isinstance(statement.annotation, ast.Name):
        section = getattr(settings, statement.annotation.id, None)
        if isinstance(section, type) and issubclass(section, Section) and section.__doc__:
            return  # its class says what it is for, and its fields say the rest
    assert isinstance(following, ast.Expr), "a string below the field says what it does, and its special values"
    assert isinstance(following.value, ast.Constant)
    assert isinstance(following.value.value, str)
    assert len(following.value.value) > 10
