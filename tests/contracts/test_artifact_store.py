"""What every ArtifactStore promises, over the fake, a folder, and an object store."""

import asyncio
import errno
import os
import pickle
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pytest
from s3fs import S3FileSystem

from pipelines.errors import ArtifactNotFound, ArtifactStoreUnavailable, InvalidRequest
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.ports.artifacts import ArtifactStore
from pipelines.stores import artifacts as fsspec_artifacts
from pipelines.stores.artifacts import FsspecArtifactStore
from tests.services.s3 import new_bucket, point_at, s3_server

KEY = "acme/0192-job/transcript.json"
HOSTILE_KEYS = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "a/./b",
    "a//b",
    "a/b/",
    "~/x",
    "C:\\x",
    "a\\..\\x",
    "a/b\x00c",
    "a/%2e%2e/b",
    "s3://bucket/x",
    ".partial/x",
    "a/.hidden",
    "a/-rf",
    "a/b\n",
    "a/" + "x" * 200,
    "/".join("abcdefghijk"),
    "a/\u202egnp.exe",
    "a/b*",
]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture(params=["fake", "folder", "object store", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArtifactStore]:
    if request.param == "fake":
        yield InMemoryArtifactStore()
    elif request.param == "folder":
        yield FsspecArtifactStore(str(tmp_path / "artifacts"))
    elif request.param == "object store":
        yield FsspecArtifactStore(f"memory://{uuid.uuid4().hex}")
    else:
        address = request.getfixturevalue("s3")
        point_at(address, monkeypatch)
        yield FsspecArtifactStore(f"s3://{new_bucket(address)}/artifacts")
        S3FileSystem.clear_instance_cache()


async def stream(chunks: Sequence[bytes], error: Exception | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if error:
        raise error


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def collect(store: ArtifactStore, key: str, start: int, end: int) -> bytes:
    return b"".join([chunk async for chunk in store.read_range(key, start, end)])


async def test_what_is_written_is_read(store: ArtifactStore) -> None:
    await store.write(KEY, b"one")
    assert await store.read(KEY) == b"one"
    assert await store.size(KEY) == 3


async def test_writing_again_replaces(store: ArtifactStore) -> None:
    await store.write(KEY, b"a longer first version")
    await store.write(KEY, b"two")
    assert await store.read(KEY) == b"two"


async def test_a_stream_is_stored_whole(store: ArtifactStore) -> None:
    chunks = [bytes([number]) * 400_000 for number in range(7)]
    assert await store.write_stream(KEY, stream(chunks)) == 2_800_000
    assert await store.read(KEY) == b"".join(chunks)


async def test_an_empty_stream_is_an_empty_artifact(store: ArtifactStore) -> None:
    assert await store.write_stream(KEY, stream([])) == 0
    assert await store.read(KEY) == b""


async def test_a_stream_that_breaks_leaves_nothing(store: ArtifactStore) -> None:
    with pytest.raises(ConnectionResetError):
        await store.write_stream(KEY, stream([b"x" * 3_000_000], ConnectionResetError()))
    assert await store.size(KEY) is None
    assert await store.list_keys("acme") == ()


async def test_a_stream_that_breaks_leaves_what_was_there_before(store: ArtifactStore) -> None:
    await store.write(KEY, b"before")
    with pytest.raises(ConnectionResetError):
        await store.write_stream(KEY, stream([b"x" * 3_000_000], ConnectionResetError()))
    assert await store.read(KEY) == b"before"


async def test_ranges(store: ArtifactStore) -> None:
    data = os.urandom(2_500_000)
    await store.write(KEY, data)
    assert await collect(store, KEY, 0, len(data)) == data
    assert await collect(store, KEY, 17, 1_900_003) == data[17:1_900_003]
    assert await collect(store, KEY, 2_499_990, 9_000_000) == data[-10:]
    assert await collect(store, KEY, 5, 5) == b""


async def test_missing_keys(store: ArtifactStore) -> None:
    assert await store.size(KEY) is None
    assert await store.list_keys("acme") == ()
    await store.delete_tree("acme")
    with pytest.raises(ArtifactNotFound):
        await store.read(KEY)
    with pytest.raises(ArtifactNotFound):
        await collect(store, KEY, 0, 1)
    with pytest.raises(ArtifactNotFound), store.open(KEY):
        pass


async def test_a_folder_is_no_artifact(store: ArtifactStore) -> None:
    await store.write(KEY, b"one")
    assert await store.size("acme/0192-job") is None
    with pytest.raises(ArtifactNotFound):
        await store.read("acme/0192-job")


async def test_keys_are_listed_below_a_folder_only(store: ArtifactStore) -> None:
    for key in ("acme/b/2", "acme/b/waves/1", "acme/a/1", "acme2/b/1", "acme/bb/1"):
        await store.write(key, b"x")
    assert await store.list_keys("acme") == ("acme/a/1", "acme/b/2", "acme/b/waves/1", "acme/bb/1")
    assert await store.list_keys("acme/b") == ("acme/b/2", "acme/b/waves/1")


async def test_a_tree_is_deleted_and_its_neighbours_are_not(store: ArtifactStore) -> None:
    for key in ("acme/b/2", "acme/b/waves/1", "acme/bb/1"):
        await store.write(key, b"x")
    await store.delete_tree("acme/b")
    await store.delete_tree("acme/b")
    assert await store.list_keys("acme") == ("acme/bb/1",)
    assert await store.size("acme/b/2") is None


async def test_open_is_seekable(store: ArtifactStore) -> None:
    await store.write(KEY, b"0123456789")
    with store.open(KEY) as file:
        file.seek(7)
        assert file.read() == b"789"
        file.seek(0)
        assert file.read(2) == b"01"


@pytest.mark.parametrize("key", HOSTILE_KEYS)
async def test_nothing_escapes_the_root(store: ArtifactStore, key: str, tmp_path: Path) -> None:
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.write(key, b"x"),
        lambda: store.write_stream(key, stream([b"x"])),
        lambda: store.read(key),
        lambda: collect(store, key, 0, 1),
        lambda: store.size(key),
        lambda: store.list_keys(key),
        lambda: store.delete_tree(key),
    ]
    for call in calls:
        with pytest.raises(InvalidRequest):
            await call()
    with pytest.raises(InvalidRequest), store.open(key):
        pass
    assert files_below(tmp_path) == []


async def test_many_writers_of_one_key_leave_one_of_their_versions(store: ArtifactStore) -> None:
    versions = [bytes([number]) * 200_000 for number in range(8)]
    await asyncio.gather(*(store.write_stream(KEY, stream([version])) for version in versions))
    assert await store.read(KEY) in versions


class TestFolder:
    """What only a folder on this machine can show."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "artifacts"

    @pytest.fixture
    def store(self, folder: Path) -> FsspecArtifactStore:
        return FsspecArtifactStore(str(folder))

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
    async def test_a_disk_that_refuses_is_unavailable_and_left_clean(
        self, store: FsspecArtifactStore, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def refuse(spool: IO[bytes]) -> None:
            raise OSError(number, os.strerror(number), "/secret/path")

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(ArtifactStoreUnavailable) as caught:
            await store.write_stream(KEY, stream([b"x" * 3_000_000]))
        with pytest.raises(ArtifactStoreUnavailable):
            await store.write(KEY, b"x")
        assert "/secret/path" not in str(caught.value)
        assert os.strerror(number) in str(caught.value)
        assert files_below(folder) == []

    async def test_a_folder_that_is_a_file_is_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "taken").write_bytes(b"")
        with pytest.raises(ArtifactStoreUnavailable):
            await FsspecArtifactStore(str(tmp_path / "taken")).write(KEY, b"x")

    def test_a_real_full_disk(self) -> None:
        """``/dev/full`` answers every write with ENOSPC."""
        with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(ArtifactStoreUnavailable) as caught:
            fsspec_artifacts._append(full, b"x")
        assert os.strerror(errno.ENOSPC) in str(caught.value)

    async def test_a_cancelled_upload_leaves_nothing(self, store: FsspecArtifactStore, folder: Path) -> None:
        arrived = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            yield b"x" * 2_000_000
            arrived.set()
            await asyncio.Event().wait()

        upload = asyncio.create_task(store.write_stream(KEY, endless()))
        await arrived.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert files_below(folder) == []

    async def test_an_unfinished_write_is_invisible_and_swept(self, store: FsspecArtifactStore, folder: Path) -> None:
        await store.write(KEY, b"x")
        spool = store._open_spool()
        spool.close()
        assert await store.list_keys("acme") == (KEY,)
        assert await store.sweep(older_than_s=3600) == 0
        os.utime(spool.name, (0, 0))
        assert await store.sweep(older_than_s=3600) == 1
        assert list((folder / ".partial").iterdir()) == []

    async def test_it_travels(self, store: FsspecArtifactStore) -> None:
        await store.write(KEY, b"x")
        assert await pickle.loads(pickle.dumps(store)).read(KEY) == b"x"

    async def test_a_url_names_the_same_folder(self, store: FsspecArtifactStore, folder: Path) -> None:
        await store.write(KEY, b"x")
        assert await FsspecArtifactStore(f"file://{folder}").read(KEY) == b"x"

    async def test_a_folder_that_a_deletion_removes_meanwhile_is_made_again(
        self, store: FsspecArtifactStore, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace, removals = Path.replace, iter([folder / "acme" / "job", folder / "acme"])

        def replace_after_a_removal(written: Path, place: Path) -> Path:
            if (emptied := next(removals, None)) is not None:
                shutil.rmtree(emptied)
            return replace(written, place)

        monkeypatch.setattr(Path, "replace", replace_after_a_removal)
        await store.write("acme/job/result.json", b"data")
        assert await store.read("acme/job/result.json") == b"data"


async def test_of_many_who_create_one_key_one_succeeds(store: ArtifactStore) -> None:
    contents = [f"version {number}".encode() for number in range(8)]
    outcomes = await asyncio.gather(*(store.create(KEY, content) for content in contents))
    assert sorted(outcomes) == [False] * 7 + [True]
    assert await store.read(KEY) == contents[outcomes.index(True)]
    assert await store.create(KEY, b"late") is False


async def test_a_spool_that_cannot_be_made_is_a_store_that_is_away(tmp_path: Path) -> None:
    store = FsspecArtifactStore(str(tmp_path))
    (tmp_path / ".partial").touch()  # a file where the folder of unfinished writes would be
    with pytest.raises(ArtifactStoreUnavailable):
        await store.write(KEY, b"x")
    with pytest.raises(ArtifactStoreUnavailable):
        await store.create(KEY, b"x")
