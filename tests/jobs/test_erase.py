"""What killed processes leave in the artifact store goes; what belongs to somebody, or is young, stays."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.jobs.erase import REQUEST_S, UPLOAD_S, sweep_leftovers
from pipelines.stores.artifacts import FsspecArtifactStore

HOUR_S = 3600.0


async def is_job(job_ids: Sequence[str]) -> frozenset[str]:
    """Of all ids, only ``job`` is one."""
    return frozenset(job_ids) & {"job"}


async def stored(root: Path, key: str, age_s: float) -> FsspecArtifactStore:
    store = FsspecArtifactStore(str(root))
    await store.write(key, b"data")
    written_s = time.time() - age_s
    os.utime(root / key, (written_s, written_s))
    return store


@pytest.mark.parametrize(
    ("key", "age_s", "swept"),
    [
        ("acme/requests/1234/recording", REQUEST_S + HOUR_S, True),
        ("acme/requests/1234/recording", REQUEST_S - HOUR_S, False),
        ("acme/no-job/upload-12ab/recording", UPLOAD_S + HOUR_S, True),
        ("acme/no-job/upload-12ab/recording", UPLOAD_S - HOUR_S, False),
        ("acme/job/upload-12ab/recording", UPLOAD_S + HOUR_S, False),
        ("acme/no-job/transcribe.json", UPLOAD_S + HOUR_S, False),
        ("acme/no-job/transcribe/wave-0000.json", UPLOAD_S + HOUR_S, False),
    ],
)
async def test_what_is_swept(tmp_path: Path, key: str, age_s: float, swept: bool) -> None:
    store = await stored(tmp_path, key, age_s)
    assert await sweep_leftovers(store, is_job) == int(swept)
    assert await store.keys() == (() if swept else (key,))


async def test_a_folder_is_as_young_as_its_youngest_file(tmp_path: Path) -> None:
    await stored(tmp_path, "acme/requests/1234/recording", REQUEST_S + HOUR_S)
    store = await stored(tmp_path, "acme/requests/1234/another", 0.0)
    assert await sweep_leftovers(store, is_job) == 0


async def test_an_upload_beside_results_belongs_to_them(tmp_path: Path) -> None:
    await stored(tmp_path, "acme/no-job/upload-12ab/recording", UPLOAD_S + HOUR_S)
    store = await stored(tmp_path, "acme/no-job/result.json", UPLOAD_S + HOUR_S)
    assert await sweep_leftovers(store, is_job) == 0


async def test_an_unfinished_write_is_no_key_and_an_empty_store_is_fine(tmp_path: Path) -> None:
    store = FsspecArtifactStore(str(tmp_path / "artifacts"))
    assert await store.keys() == ()
    (tmp_path / "artifacts" / ".partial").mkdir(parents=True)
    (tmp_path / "artifacts" / ".partial" / "rayscribe-1").touch()
    assert await store.keys() == ()
    assert await sweep_leftovers(store, is_job) == 0


async def test_ages_are_known_in_object_stores_too() -> None:
    store = FsspecArtifactStore("memory://leftovers")
    await store.write("acme/requests/1234/recording", b"data")
    assert await store.keys() == ("acme/requests/1234/recording",)
    assert 0.0 <= await store.age_s("acme/requests/1234/recording") < 60.0
    assert await store.age_s("acme/requests/1234/gone") == 0.0
    await store.delete_tree("acme")
