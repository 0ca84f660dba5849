"""What was erased, kept outside of everything that a backup brings back: ids and counts, no words.

An entry is written before anything is removed, and completed afterwards. At every start the journal is gone through: a
job that a restored backup has brought back is erased again, unless it was made after its erasure, which no backup can
do. ``{tenant}/{erasure id}.json``; ids sort by time.
"""

import hashlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import uuid_utils.compat
from pydantic import ValidationError

from pipelines.domain.encoding import from_json, to_json
from pipelines.domain.job import JobKind
from pipelines.errors import ArtifactNotFound, InvalidRequest, NotFound
from pipelines.jobs.erase import erase_job
from pipelines.ports.artifacts import ArtifactStore, KeepsHouse
from pipelines.ports.jobs import JobQueue
from pipelines.ports.passages import PassageStore

ErasureCause = Literal["asked", "expired"]
_PAGE = 100
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """One thing that was erased, and what went with it."""

    erasure_id: str
    tenant: str
    kind: Literal["job", "collection"]
    target: str
    """The job's id; of a collection a hash of its name, which may say something."""
    cause: ErasureCause
    erased_at: str
    """UTC, RFC 3339."""
    artifacts: int | None = None
    """How many files went; None: it was begun, and not completed yet."""
    passages: int | None = None


class ErasureJournal:
    """Entries in a store of their own."""

    def __init__(self, store: KeepsHouse) -> None:
        """Take an artifact store that lies outside the data folder and the bucket of recordings."""
        self._store = store

    async def begin(self, tenant: str, kind: Literal["job", "collection"], target: str, cause: ErasureCause) -> Erasure:
        """Write an entry. Raises ArtifactStoreUnavailable: what cannot be journaled must not be erased."""
        erasure = Erasure(
            erasure_id=str(uuid_utils.compat.uuid7()),
            tenant=tenant,
            kind=kind,
            target=target,
            cause=cause,
            erased_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        )
        await self._write(erasure)
        return erasure

    async def complete(self, erasure: Erasure, *, artifacts: int, passages: int) -> Erasure:
        """Say what went."""
        done = replace(erasure, artifacts=artifacts, passages=passages)
        await self._write(done)
        return done

    async def get(self, tenant: str, erasure_id: str) -> Erasure:
        """Return one of a tenant's entries. Raises NotFound."""
        try:
            return from_json(Erasure, await self._store.read(_key(tenant, erasure_id)))
        except (ArtifactNotFound, InvalidRequest):
            raise NotFound("there is no such erasure") from None

    async def page(self, tenant: str, *, cursor: str | None, limit: int) -> tuple[tuple[Erasure, ...], str | None]:
        """Return a tenant's entries, newest first, and where to go on."""
        ids = [key.rsplit("/", 1)[1].removesuffix(".json") for key in await self._store.list_keys(tenant)]
        older = sorted((found for found in ids if cursor is None or found < cursor), reverse=True)
        entries = [await self.get(tenant, erasure_id) for erasure_id in older[:limit]]
        return tuple(entries), older[limit - 1] if len(older) > limit else None

    async def erased_jobs(self, tenant: str) -> frozenset[str]:
        """Return the ids of all jobs of a tenant that were erased."""
        return frozenset([entry.target async for entry in self.entries(tenant) if entry.kind == "job"])

    async def entries(self, tenant: str | None = None) -> AsyncGenerator[Erasure, None]:
        """Yield all entries, or a tenant's, oldest first within one; what cannot be read is logged and left out."""
        for key in await (self._store.keys() if tenant is None else self._store.list_keys(tenant)):
            try:
                yield from_json(Erasure, await self._store.read(key))
            except (ArtifactNotFound, ValidationError):
                logger.warning("the entry %s of the erasure journal cannot be read", key)

    async def _write(self, erasure: Erasure) -> None:
        await self._store.write(_key(erasure.tenant, erasure.erasure_id), to_json(erasure))


@dataclass(frozen=True, slots=True, kw_only=True)
class Eraser:
    """Erases for good: with the journal, so that no backup brings it back."""

    queue: JobQueue
    artifacts: ArtifactStore
    passages: PassageStore | None
    journal: ErasureJournal | None
    """None: nothing is remembered, and a backup brings everything back."""

    async def erase(self, tenant: str, job_id: str, cause: ErasureCause = "asked") -> Erasure | None:
        """Erase a job, whatever its state; return its entry in the journal, where there is one.

        Raises NotFound, and what the stores raise; then it can be done again.
        """
        job = await self.queue.get(tenant, job_id)
        if self.journal is None:
            await erase_job(self.queue, self.artifacts, self.passages, tenant, job_id)
            return None
        begun = await self.journal.begin(tenant, "job", job_id, cause)
        artifacts = len(await self.artifacts.list_keys(f"{tenant}/{job_id}"))
        passages = 0
        if self.passages is not None and job.kind is JobKind.RECORDING and job.request.collection is not None:
            passages = await _count(self.passages, tenant, job.request.collection, job_id)
        await erase_job(self.queue, self.artifacts, self.passages, tenant, job_id)
        return await self.journal.complete(begun, artifacts=artifacts, passages=passages)

    async def replay(self) -> int:
        """Erase again whatever a restored backup has brought back; return how many jobs.

        What cannot be erased now is logged, and left to the next start.
        """
        again = 0
        if self.journal is None:
            return again
        async for entry in self.journal.entries():
            if entry.kind != "job":
                continue
            try:
                again += await self._erase_again(entry)
            except Exception:
                logger.exception("job %s was erased, is back, and cannot be erased again", entry.target)
        return again

    async def _erase_again(self, entry: Erasure) -> bool:
        try:
            job = await self.queue.get(entry.tenant, entry.target)
        except NotFound:
            return await self._sweep(entry)
        if job.created_at > entry.erased_at:
            return False  # the same idempotency key was used anew, after the erasure
        await erase_job(self.queue, self.artifacts, self.passages, entry.tenant, entry.target)
        return True

    async def _sweep(self, entry: Erasure) -> bool:
        """Remove what came back without its record."""
        folder = f"{entry.tenant}/{entry.target}"
        if not await self.artifacts.list_keys(folder):
            return False
        if self.passages is not None:
            for collection in await self.passages.collections(entry.tenant):
                await self.passages.delete_job(entry.tenant, collection.name, entry.target)
        await self.artifacts.delete_tree(folder)
        return True


def name_hash(tenant: str, collection: str) -> str:
    """Return what the journal calls a collection."""
    return hashlib.sha256(f"{tenant}\n{collection}".encode("utf-8", "surrogatepass")).hexdigest()


async def _count(passages: PassageStore, tenant: str, collection: str, job_id: str) -> int:
    try:
        return len(await passages.passages(tenant, collection, job_id))
    except NotFound:
        return 0


def _key(tenant: str, erasure_id: str) -> str:
    return f"{tenant}/{erasure_id}.json"
