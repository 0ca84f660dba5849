"""A collection as one file: a ZIP of its jobs' records and recordings, to keep and to bring back.

    manifest.json                        which jobs there are, what was asked of each, what it received
    jobs/{id}/{stage}.json               what its stages left, and the revisions of its transcript
    jobs/{id}/recording                  as it was received

Passages are not in it: they are made anew by the embedder of whoever brings it back, from the same transcripts. What is
read is checked before anything is written: it may be anybody's file.
"""

import asyncio
import io
import json
import re
import zipfile
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from pipelines.domain.encoding import from_json, to_json
from pipelines.domain.job import Job, JobFilters, JobKind, JobStatus
from pipelines.domain.transcript import Revision
from pipelines.errors import InvalidRequest, TooLarge
from pipelines.jobs.stages import STAGES
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.jobs import JobQueue

_PAGE = 100
_CHUNK_BYTES = 1 << 20
_MOST_ENTRIES = 200_000
_LARGEST_RECORD_BYTES = 64_000_000
_MOST_RATIO = 200
"""JSON of transcripts shrinks to a tenth; what shrinks more than this was made to grow."""
_STARTED_ANEW = "index"
_RECORD = re.compile(r"(?:([a-z]+)|revisions/\d{4}(?:-([a-z]+))?)\.json")
_ENTRY = re.compile(rf"manifest\.json|jobs/[0-9a-f-]{{36}}/(?:recording|{_RECORD.pattern})")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RECORD_TYPES = {stage.name: stage.record for stage in STAGES if stage.name != _STARTED_ANEW}
_DATE = (1980, 1, 1, 0, 0, 0)
"""ZIP's own first day: the same jobs make the same file."""
PARAM = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledJob:
    """One recording of a collection."""

    job_id: str
    """Where it came from."""
    created_at: str
    request: Mapping[str, Any]
    filename: str
    sha256: str
    bytes: int
    has_recording: bool
    records: tuple[str, ...]
    """Names of artifacts in its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in the file."""

    format: Literal["rayscribe-collection"] = "rayscribe-collection"
    version: Literal[1] = 1
    collection: str
    jobs: tuple[BundledJob, ...] = field(default=())


async def collect_jobs(
    queue: JobQueue, artifacts: ArtifactStore, tenant: str, collection: str, *, recordings: bool
) -> tuple[tuple[Job, BundledJob], ...]:
    """Return the recordings of a collection, oldest first, with what there is of each."""
    found: list[tuple[Job, BundledJob]] = []
    filters, cursor = JobFilters(status=JobStatus.SUCCEEDED, collection=collection), None
    while True:
        page = await queue.list_jobs(tenant, filters, cursor=cursor, limit=_PAGE)
        own = [job for job in page.jobs if job.kind is JobKind.RECORDING and _STARTED_ANEW in job.request.features]
        found += [(job, await _bundled(artifacts, job, recordings)) for job in own]
        if (cursor := page.next_cursor) is None:
            return tuple(reversed(found))


async def _bundled(artifacts: ArtifactStore, job: Job, recordings: bool) -> BundledJob:
    folder = f"{job.tenant}/{job.job_id}/"
    names = [key.removeprefix(folder) for key in await artifacts.list_keys(folder.rstrip("/"))]
    return BundledJob(
        job_id=job.job_id,
        created_at=job.created_at,
        request=json.loads(to_json(job.request)),
        filename=job.upload.filename,
        sha256=job.upload.sha256,
        bytes=job.upload.bytes,
        has_recording=recordings and await artifacts.size(job.upload.artifact) is not None,
        records=tuple(name for name in names if _record_type(name) is not None),
    )


async def write_bundle(
    artifacts: ArtifactStore, collection: str, jobs: tuple[tuple[Job, BundledJob], ...]
) -> AsyncGenerator[bytes, None]:
    """Yield the file as it is made, in memory bounded by one record. Raises ArtifactNotFound, …Unavailable."""
    written = _Written()
    with zipfile.ZipFile(written, "w", allowZip64=True) as archive:
        for job, bundled in jobs:
            for name in bundled.records:
                data = await artifacts.read(f"{job.tenant}/{job.job_id}/{name}")
                await asyncio.to_thread(_add, archive, f"jobs/{job.job_id}/{name}", data)
                yield written.take()
            if bundled.has_recording:
                async for chunk in _recording(archive, artifacts, job, written):
                    yield chunk
        manifest = Manifest(collection=collection, jobs=tuple(bundled for _, bundled in jobs))
        _add(archive, "manifest.json", to_json(manifest))
    yield written.take()


async def _recording(
    archive: zipfile.ZipFile, artifacts: ArtifactStore, job: Job, written: "_Written"
) -> AsyncIterator[bytes]:
    # Sound does not shrink: it is stored as it is.
    with archive.open(zipfile.ZipInfo(f"jobs/{job.job_id}/recording", _DATE), "w", force_zip64=True) as entry:
        async for chunk in artifacts.read_range(job.upload.artifact, 0, job.upload.bytes):
            entry.write(chunk)
            yield written.take()
    yield written.take()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED)


class _Written(io.RawIOBase):
    """What was written and not yet sent. It cannot be sought in: sizes come after the data they are of."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data


class Bundle:
    """A file that somebody brought, opened and checked."""

    def __init__(self, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        """Use ``open_bundle``."""
        self._archive = archive
        self.manifest = manifest

    def records(self, job: BundledJob) -> dict[str, bytes]:
        """Return a job's artifacts, by their names in its folder; blocking. Raises InvalidRequest where one is none."""
        found: dict[str, bytes] = {}
        for name in job.records:
            kind = _record_type(name)
            data = _read(self._archive, f"jobs/{job.job_id}/{name}")
            try:
                if kind is None:
                    raise ValueError
                from_json(kind, data)
            except ValueError:
                raise InvalidRequest(f"{name[:60]!r} of a job is no record", PARAM) from None
            found[name] = data
        missing = {"prepare.json", "transcribe.json"} - set(found)
        if missing:
            raise InvalidRequest(f"a job lacks {', '.join(sorted(missing))}", PARAM)
        return found

    async def recording(self, job: BundledJob) -> AsyncGenerator[bytes, None]:
        """Yield a job's recording, read in threads. Raises InvalidRequest."""
        with _readable(), self._archive.open(f"jobs/{job.job_id}/recording") as entry:
            while chunk := await asyncio.to_thread(entry.read, _CHUNK_BYTES):
                yield chunk


@contextmanager
def open_bundle(source: BinaryIO, *, most_bytes: int) -> Iterator[Bundle]:
    """Open a file and check what it says of itself; blocking. Yields a Bundle.

    Raises InvalidRequest (no ZIP, not of this kind, unknown or doubled names, encrypted), TooLarge (more than
    ``most_bytes`` when unpacked, or entries that grow as no transcript does).
    """
    with _readable(), zipfile.ZipFile(source) as archive:
        _check(archive, most_bytes)
        try:
            manifest = from_json(Manifest, _read(archive, "manifest.json"))
        except ValueError:
            raise InvalidRequest("this is no collection that was exported by RayScribe", PARAM) from None
        if any(not _SHA256.fullmatch(job.sha256) or job.bytes < 0 for job in manifest.jobs):
            raise InvalidRequest("the manifest names a recording that cannot be", PARAM)
        yield Bundle(archive, manifest)


def _check(archive: zipfile.ZipFile, most_bytes: int) -> None:
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise TooLarge(f"the file has more than {_MOST_ENTRIES:,} entries", PARAM)
    if len({entry.filename for entry in entries}) < len(entries):
        raise InvalidRequest("the file has two entries of one name", PARAM)
    for entry in entries:
        if not _ENTRY.fullmatch(entry.filename):
            raise InvalidRequest(f"the file has an entry that is none of a collection: {entry.filename[:60]!r}", PARAM)
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InvalidRequest("the file is encrypted, or packed in another way than it was exported", PARAM)
        is_record = not entry.filename.endswith("/recording")
        grows = entry.file_size > _MOST_RATIO * max(entry.compress_size, 1)
        if (is_record and entry.file_size > _LARGEST_RECORD_BYTES) or (grows and entry.file_size > _CHUNK_BYTES):
            raise TooLarge("the file holds entries that are larger than any record", PARAM)
    if sum(entry.file_size for entry in entries) > most_bytes:
        raise TooLarge(f"the file holds more than {most_bytes:,} bytes", PARAM)


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    # Never more than the directory says, which was checked: zipfile stops there, and compares the checksum.
    with _readable():
        return archive.read(name)


@contextmanager
def _readable() -> Iterator[None]:
    """Bring what a broken file raises into our tree."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InvalidRequest("the file is no whole ZIP of a collection", PARAM) from error


def _record_type(name: str) -> Any:
    """Return what an artifact holds; None for what is none of a bundle's."""
    match = _RECORD.fullmatch(name)
    if match is None:
        return None
    stage = match[1] or match[2]
    return _RECORD_TYPES.get(stage) if stage else Revision
