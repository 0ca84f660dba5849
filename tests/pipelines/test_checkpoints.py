import hashlib
import os
from pathlib import Path

import pytest

from pipelines.checkpoints import checkpoint_hash, folder_bytes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plda").mkdir()
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "plda" / "a.npz").write_bytes(b"more")
    return tmp_path


def test_it_is_the_hash_of_what_sha256sum_prints(folder: Path) -> None:
    lines = f"{hashlib.sha256(b'weights').hexdigest()}  model.bin\n{hashlib.sha256(b'more').hexdigest()}  plda/a.npz\n"
    assert checkpoint_hash(folder) == "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def test_another_place_has_the_same_hash_and_another_name_has_not(folder: Path, tmp_path: Path) -> None:
    before = checkpoint_hash(folder)
    (folder / "model.bin").rename(folder / "weights.bin")
    assert checkpoint_hash(folder) != before


def test_hidden_files_do_not_count(folder: Path) -> None:
    before = checkpoint_hash(folder)
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_bytes(b"x")
    assert checkpoint_hash(folder) == before


def test_the_models_card_does_not_count(folder: Path) -> None:
    before = checkpoint_hash(folder)
    (folder / "README.md").write_text("what it can do")
    assert checkpoint_hash(folder) == before


def test_a_file_is_read_again_only_when_it_has_changed(folder: Path) -> None:
    before, weights = checkpoint_hash(folder), folder / "model.bin"
    status = weights.stat()
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert checkpoint_hash(folder) == before
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert checkpoint_hash(folder) != before


def test_size_counts_all_files(folder: Path) -> None:
    assert folder_bytes(folder) == len(b"weights") + len(b"more")
