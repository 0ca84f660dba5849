"""What killed processes leave in the artifact store: requests that nobody answered, uploads that became no job.

tenant/requests/<uuid>/…          a synchronous request's recording: gone with its answer, unless its process was killed
tenant/<job id>/upload-<hex>/…    a job's recording: of no use where the job was never acknowledged
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from pipelines.ports import ArtifactStore

REQUESTS = "requests"
REQUEST_S = 24 * 3600.0
"""No request takes a day: the longest has half an hour of audio."""
UPLOAD_S = 7 * 24 * 3600.0
"""An upload becomes a job within minutes. A week, so that a job database can be brought back from a backup first."""

KnownJobs = Callable[[Sequence[str]], Awaitable[frozenset[str]]]
"""Is given ids, and returns those that are jobs."""


@runtime_checkable
class KeepsHouse(ArtifactStore, Protocol):
    """An ArtifactStore that also knows what it holds and since when. Raises ArtifactStoreUnavailable throughout."""

    async def keys(self) -> tuple[str, ...]:
        """Return every key of the store, sorted."""
        ...

    async def age_s(self, key: str) -> float:
        """Return the seconds since a key was written; 0 where it is gone."""
        ...

    async def sweep(self, *, older_than_s: float = 24 * 3600.0) -> int:
        """Remove what killed processes left of unfinished writes; return how many."""
        ...


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
