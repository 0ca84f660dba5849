import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.models.catalogue import CATALOGUE, CatalogueEntry, find, missing_files
from serve_app.models.download import DownloadFailed, Unreachable, pull
from tests.models.hub import StandInHub, connected_to, whisper_files


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInHub]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    standin = StandInHub(whisper_files())
    with connected_to(standin, monkeypatch):
        yield standin


@pytest.fixture
def small() -> CatalogueEntry:
    entry = find("small")
    assert entry is not None
    return entry


def quietly(seconds: float) -> None:
    """Stand in for sleeping."""


def test_pull_brings_what_the_engine_needs_at_the_pinned_revision(
    hub: StandInHub, small: CatalogueEntry, tmp_path: Path
) -> None:
    folder = pull(small, tmp_path, sleep=quietly)
    assert folder == tmp_path / "small"
    assert small.hub is not None
    assert missing_files(small, folder) == ()
    assert {file.name for file in folder.iterdir() if file.is_file()} == set(hub.files) - {"README.md"}
    assert (folder / "model.bin").read_bytes() == hub.files["model.bin"]
    assert all(small.hub.revision in request.url.path for request in hub.requests)
    assert all("authorization" not in request.headers for request in hub.requests)


def test_token_is_sent(hub: StandInHub, small: CatalogueEntry, tmp_path: Path) -> None:
    pull(small, tmp_path, token="hf_x", sleep=quietly)
    assert hub.requests[0].headers["authorization"] == "Bearer hf_x"


def test_torn_download_is_tried_again(hub: StandInHub, small: CatalogueEntry, tmp_path: Path) -> None:
    hub.break_once = "model.bin"
    folder = pull(small, tmp_path, sleep=quietly)
    assert (folder / "model.bin").read_bytes() == hub.files["model.bin"]


def test_second_pull_downloads_nothing_again(hub: StandInHub, small: CatalogueEntry, tmp_path: Path) -> None:
    pull(small, tmp_path, sleep=quietly)
    hub.requests.clear()
    pull(small, tmp_path, sleep=quietly)
    assert [
        request.method for request in hub.requests if request.method == "GET" and "resolve" in request.url.path
    ] == []


def test_hub_that_is_away_is_said_after_three_tries(hub: StandInHub, small: CatalogueEntry, tmp_path: Path) -> None:
    hub.away = True
    slept: list[float] = []
    with pytest.raises(Unreachable) as caught:
        pull(small, tmp_path, sleep=slept.append)
    assert len(slept) == 2
    assert "Systran/faster-whisper-small" in caught.value.message
    assert "\n" not in caught.value.message
    assert "Without a network" in caught.value.advice


def test_partial_folder_and_no_hub_is_not_taken_for_a_model(
    hub: StandInHub, small: CatalogueEntry, tmp_path: Path
) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "config.json").write_text("{}")
    hub.away = True
    with pytest.raises(Unreachable, match=r"model\.bin|could not be downloaded"):
        pull(small, tmp_path, sleep=quietly)


@pytest.mark.parametrize("status", [401, 403])
def test_gated_repository_says_how_to_get_access(hub: StandInHub, tmp_path: Path, status: int) -> None:
    hub.refuse_with = status
    gated = find("speaker-diarization-community-1")
    assert gated is not None
    with pytest.raises(DownloadFailed) as caught:
        pull(gated, tmp_path, token="hf_x", sleep=quietly)
    assert not isinstance(caught.value, Unreachable), "asking again does not help"
    assert "HF_TOKEN=… rayscribe models pull speaker-diarization-community-1" in caught.value.advice


def test_pull_switches_the_hub_on_for_this_process_only(hub: StandInHub, small: CatalogueEntry, tmp_path: Path) -> None:
    pull(small, tmp_path, sleep=quietly)
    assert os.environ["HF_HUB_OFFLINE"] == "0"


def test_catalogue_names_are_unique_and_pinned() -> None:
    assert len({entry.name for entry in CATALOGUE}) == len(CATALOGUE)
    revisions = [entry.hub.revision for entry in CATALOGUE if entry.hub]
    assert all(len(revision) == 40 and int(revision, 16) for revision in revisions)
    assert all(entry.hub or entry.packaged for entry in CATALOGUE)


def test_repository_is_as_good_as_a_name() -> None:
    assert find("BAAI/bge-m3") is find("bge-m3") is not None
    assert find("nothing") is None
