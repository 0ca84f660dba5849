"""A job erased with all that belongs to it; what killed processes leave is swept."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from pipelines.domain.job import JobKind
from pipelines.errors import JobEnded
from pipelines.jobs.revise import end_following
from pipelines.ports.artifacts import ArtifactStore, KeepsHouse
from pipelines.ports.jobs import JobQueue
from pipelines.ports.passages import PassageStore


async def erase_job(
    queue: JobQueue, artifacts: ArtifactStore, passages: PassageStore | None, tenant: str, job_id: str
) -> None:
    """Remove everything there is of a job, whatever its state; a running one is cancelled first.

    The record goes last: whatever fails before leaves a job that can be erased again. Raises NotFound, and what the
    stores raise.
    """
    job = await queue.get(tenant, job_id)
    if not job.status.ended:
        with suppress(JobEnded):
            await queue.cancel(tenant, job_id)
    await queue.settle(tenant, job_id)
    await end_following(queue, artifacts, tenant, job_id)
    if job.kind is JobKind.RECORDING and passages is not None and job.request.collection is not None:
        await passages.delete_job(tenant, job.request.collection, job_id)
    if job.kind is JobKind.REINDEX and passages is not None and job.request.collection is not None:
        await passages.drop_replacement(tenant, job.request.collection, job_id)
    await artifacts.delete_tree(f"{tenant}/{job_id}")
    await queue.erase(tenant, job_id)


REQUESTS = "requests"
REQUEST_S = 24 * 3600.0
"""No request takes a day: the longest has half an hour of audio."""
UPLOAD_S = 7 * 24 * 3600.0
"""An upload becomes a job within minutes. A week, so that a job database can be brought back from a backup first."""

KnownJobs = Callable[[Sequence[str]], Awaitable[frozenset[str]]]
"""Is given ids, and returns those that are jobs."""


async def sweep_leftovers(artifacts: KeepsHouse, known_jobs: KnownJobs) -> int:
    """Remove what belongs to nobody and is old enough; return how many folders. Raises ArtifactStoreUnavailable."""
    keys = await artifacts.keys()
    uploads = _lone_uploads(keys)
    jobs = await known_jobs(sorted({folder.split("/")[1] for folder in uploads}))
    orphans = {folder: own for folder, own in uploads.items() if folder.split("/")[1] not in jobs}
    removed = 0
    for folders, after_s in ((_requests(keys), REQUEST_S), (orphans, UPLOAD_S)):
        for folder, own in folders.items():
            if min([await artifacts.age_s(key) for key in own]) > after_s:
                await artifacts.delete_tree(folder)
                removed += 1
    return removed


def _requests(keys: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Return folder → keys of all synchronous requests."""
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for key in keys:
        parts = key.split("/")
        if len(parts) > 3 and parts[1] == REQUESTS:
            folders["/".join(parts[:3])].append(key)
    return folders


def _lone_uploads(keys: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Return folder → keys of what looks like a job, and of which there is nothing but an upload."""
    folders: defaultdict[str, list[str]] = defaultdict(list)
    worked_on = set()
    for key in keys:
        parts = key.split("/")
        folder = "/".join(parts[:2])
        if len(parts) > 3 and parts[2].startswith("upload-"):
            folders[folder].append(key)
        else:
            worked_on.add(folder)
    return {folder: own for folder, own in folders.items() if folder not in worked_on}
