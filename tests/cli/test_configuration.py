"""Mistakes in what the operator configures: a line that names the setting, exit code 2, and never the value."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from typer.testing import Result

import serve_app.laptop
from serve_app.cli import doctor_machine
from serve_app.cli.serving import DEFAULT_CONFIG
from serve_app.settings import Settings
from tests.cli.conftest import Command

SECRET = "my-real-key-123"
READERS = [("up",), ("doctor",), ("models", "list"), ("models", "pull", "tiny")]
"""Every command that reads settings."""


@pytest.fixture(autouse=True)
def launches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What ``up`` would serve; without a mistake, that is."""
    served: list[Any] = []
    launch = SimpleNamespace(run=lambda *given, **_: served.append(given))
    monkeypatch.setitem(sys.modules, "serve_app.laptop.launch", launch)
    monkeypatch.setattr(serve_app.laptop, "launch", launch, raising=False)
    return served


def is_one_clear_line(result: Result) -> bool:
    """One line and its advice, and no traceback."""
    assert result.exit_code == 2, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert SECRET not in result.output
    lines = result.stderr.splitlines()
    return lines[0].startswith("✗ ") and [line[:2] for line in lines[1:]] == ["  "]


@pytest.mark.parametrize("words", READERS, ids=" ".join)
@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("RAYSCRIBE_KEYS", f'[{{"sha256": "{SECRET}", "tenant": "acme"}}]', "setting keys.0.sha256"),
        ("RAYSCRIBE_KEYS", SECRET, "RAYSCRIBE_KEYS is not JSON"),
        ("RAYSCRIBE_KEYS", f'{{"{SECRET}": 1}}', "setting keys"),
        ("RAYSCRIBE_LANGUAGE_MODEL__TEMPERATURE", SECRET, "setting language_model.temperature"),
        ("RAYSCRIBE_LANGUAGE_MODEL__API_KEYS", SECRET, "setting language_model.api_keys: there is no such setting"),
        ("RAYSCRIBE_LIMITS__UPLOAD_BYTES", SECRET, "setting limits.upload_bytes"),
        ("RAYSCRIBE_LIMITS", SECRET, "RAYSCRIBE_LIMITS is not JSON"),
        ("RAYSCRIBE_PROFILE", "gpu", "setting of the profile: the gpu profile needs at least one key"),
    ],
)
def test_wrong_environment(
    rayscribe: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], variable: str, value: str, named: str
) -> None:
    monkeypatch.setenv(variable, value)
    result = rayscribe(*words)
    assert is_one_clear_line(result)
    assert result.stderr.startswith(f"✗ {named}")
    if variable != "RAYSCRIBE_PROFILE":
        assert re.search(rf"\b{variable}\b", result.stderr)


def test_key_in_the_place_of_its_hash_says_how_to_make_one(rayscribe: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSCRIBE_KEYS", f'[{{"sha256": "{SECRET}", "tenant": "acme"}}]')
    assert "printf %s KEY | sha256sum" in rayscribe("doctor").stderr


def test_several_mistakes_are_counted(rayscribe: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSCRIBE_LIMITS__UPLOAD_BYTES", "many")
    monkeypatch.setenv("RAYSCRIBE_LOG_LEVEL", "LOUD")
    assert "(and 1 more)" in rayscribe("models", "list").stderr


def test_traceback_of_settings_holds_no_secret() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(keys=({"sha256": SECRET, "tenant": "acme"},))
    assert "keys.0.sha256" in str(refused.value)
    assert SECRET not in str(refused.value)


def changed(change: Callable[[Any], object]) -> str:
    document = yaml.safe_load(DEFAULT_CONFIG.read_text())
    change(document)
    return yaml.safe_dump(document)


def arguments_of(document: Any) -> Any:
    return document["applications"][0]["args"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "it holds no keys"),
        ("- 1\n", "it holds no keys"),
        ("a: 1\n", "`applications`"),
        ("applications: []\n", "`applications`"),
        ("applications: [1]\n", "`applications`"),
        (changed(lambda document: document.pop("http_options")), "`http_options` must have a `port`"),
        (changed(lambda document: document["http_options"].pop("port")), "`http_options` must have a `port`"),
        (changed(lambda document: document["http_options"].update(port="x")), "`http_options` must have a `port`"),
        (changed(lambda document: document["applications"][0].update(args=None)), "`args`"),
        (changed(lambda document: document["applications"][0].update(args=[1])), "`args`"),
        (changed(lambda document: arguments_of(document).update({1: 2})), "`args`"),
        (f"a: [{SECRET}\n", "is not YAML: see line 2, column 1"),
        (f"a:\n  b: !{SECRET}\n", "is not YAML: see line 2, column 6"),
        (f"a:\n  b: *{SECRET}\n", "is not YAML: see line 2, column 6"),
        ("\tx: 1\n", "is not YAML: see line 1, column 1"),
        ("a: \x00\n", "is not YAML"),
        (changed(lambda document: arguments_of(document).update(nonsense=SECRET)), "setting nonsense: there is no"),
        (changed(lambda document: arguments_of(document).update(limits=SECRET)), "setting limits"),
        (changed(lambda document: arguments_of(document).update(profile="production")), "needs at least one key"),
    ],
)
def test_wrong_file(rayscribe: Command, launches: list[Any], tmp_path: Path, text: str, named: str) -> None:
    config = tmp_path / "my.yaml"
    config.write_text(text)
    result = rayscribe("up", "--config", config)
    assert is_one_clear_line(result)
    assert named in result.stderr.splitlines()[0]
    assert str(config) in result.stderr
    assert launches == []


def test_file_in_another_encoding(rayscribe: Command, tmp_path: Path) -> None:
    config = tmp_path / "my.yaml"
    config.write_bytes(b"\xff\xfea\x00")
    result = rayscribe("up", "--config", config)
    assert is_one_clear_line(result)
    assert f"{config} is not YAML in UTF-8" in result.stderr


def test_application_without_settings_is_served(rayscribe: Command, launches: list[Any], tmp_path: Path) -> None:
    config = tmp_path / "my.yaml"
    config.write_text(changed(lambda document: document["applications"][0].pop("args")))
    assert rayscribe("up", "--config", config).exit_code == 0
    assert launches == [(config,)]


def test_what_serve_itself_refuses_is_said_too(
    rayscribe: Command, launches: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object, **__: object) -> None:
        from ray.serve.schema import ServeDeploySchema

        ServeDeploySchema.model_validate({"applications": [{"import_pth": SECRET}]})

    monkeypatch.setattr(serve_app.laptop.launch, "run", run)
    result = rayscribe("up")
    assert is_one_clear_line(result)
    assert f"✗ {DEFAULT_CONFIG}: applications.0" in result.stderr


def test_doctor_looks_at_profiles_that_can_be_read(
    rayscribe: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "local.yaml"
    config.write_text(changed(lambda document: arguments_of(document).update(diarizer={"chain": SECRET})))
    monkeypatch.setitem(doctor_machine.PROFILE_FILES, "local", config)
    result = rayscribe("doctor")
    assert is_one_clear_line(result)
    assert f"✗ {config}: chain" in result.stderr
