import json
from pathlib import Path

import pytest

from serve_app.models import download as model_download
from serve_app.models.catalogue import CatalogueEntry
from tests.cli.conftest import Command
from tests.client.standin import StandIn


@pytest.fixture
def downloaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every pull succeeds at once; what was pulled is listed."""
    names: list[str] = []

    def download(entry: CatalogueEntry, folder: Path, token: str | None) -> None:
        names.append(entry.name)
        for name in entry.required:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"12")

    monkeypatch.setattr(model_download, "download_from_hub", download)
    return names


def test_pull_says_what_it_will_download_and_where_to(
    rayscribe: Command, downloaded: list[str], tmp_path: Path
) -> None:
    result = rayscribe("models", "pull", "small", "BAAI/bge-m3")
    assert result.exit_code == 0, result.output
    assert downloaded == ["small", "bge-m3"]
    assert "about 486.0 MB from Systran/faster-whisper-small, MIT" in result.stdout
    assert str(tmp_path / "data" / "models") in result.stdout
    assert "small is ready" in result.stdout


def test_pull_of_an_unknown_model_lists_the_known(rayscribe: Command, downloaded: list[str]) -> None:
    result = rayscribe("models", "pull", "gpt")
    assert result.exit_code == 2
    assert "large-v3-turbo" in result.stderr
    assert downloaded == []


def test_gated_model_without_a_token_says_how_before_it_tries(rayscribe: Command, downloaded: list[str]) -> None:
    result = rayscribe("models", "pull", "speaker-diarization-community-1")
    assert result.exit_code == 3
    assert "HF_TOKEN=" in result.stderr
    assert downloaded == []
    assert rayscribe("models", "pull", "speaker-diarization-community-1", env={"HF_TOKEN": "hf_x"}).exit_code == 0


@pytest.mark.parametrize(
    ("failure", "exit_code"), [(model_download.Unreachable, 4), (model_download.DownloadFailed, 3)]
)
def test_failed_pull_says_what_is_missing(
    rayscribe: Command,
    monkeypatch: pytest.MonkeyPatch,
    failure: type[model_download.DownloadFailed],
    exit_code: int,
) -> None:
    def pull(*_: object, **__: object) -> None:
        raise failure("it did not come", "Try the other door.")

    monkeypatch.setattr(model_download, "pull", pull)
    result = rayscribe("models", "pull", "tiny")
    assert result.exit_code == exit_code
    assert result.stderr == "✗ it did not come\n  Try the other door.\n"


def test_list_says_what_is_on_disk(rayscribe: Command, downloaded: list[str]) -> None:
    rayscribe("models", "pull", "tiny")
    on_disk = {row["name"]: row["on disk"] for row in json.loads(rayscribe("models", "list", "--json").stdout)}
    assert on_disk["tiny"] == "6 B"
    assert on_disk["small"] == ""
    assert "tiny" in rayscribe("models", "list").stdout


def test_incomplete_folder_is_not_on_disk(rayscribe: Command, downloaded: list[str], tmp_path: Path) -> None:
    rayscribe("models", "pull", "tiny")
    (tmp_path / "data" / "models" / "tiny" / "model.bin").unlink()
    on_disk = {row["name"]: row["on disk"] for row in json.loads(rayscribe("models", "list", "--json").stdout)}
    assert on_disk["tiny"] == ""


def test_list_of_what_a_server_runs(rayscribe: Command, server: StandIn) -> None:
    rows = json.loads(rayscribe("models", "list", "--running", "--json").stdout)
    assert [(row["role"], row["name"], row["instead of"]) for row in rows] == [
        ("asr", "demo-asr", "small"),
        ("embedder", "loading", ""),
    ]
