"""Revisions of a transcript: number 1 is what the job made, each later one an artifact that is written once.

    {tenant}/{job_id}/revisions/0002.json            the transcript as it was corrected
    {tenant}/{job_id}/revisions/0002-understand.json what a stage made of it since

Whoever writes number n first has it: of two editors who began with the same revision, one is told of the other.
Which revision a stage's output is of follows from its key, so that ``stale`` is computed and stored nowhere.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pipelines.domain.encoding import to_json
from pipelines.domain.transcript import Revision, RevisionOrigin, Transcript
from pipelines.errors import InvalidRequest, NotFound, RevisionChanged
from pipelines.jobs.artifacts import artifact_key, load_artifact
from pipelines.ports.artifacts import ArtifactStore

MOST_REVISIONS = 9_999
_NAME = re.compile(r"(\d{4})(?:-([a-z]+))?\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """What there is below a job's ``revisions/``."""

    latest: int = 1
    stages: Mapping[str, int] = field(default_factory=dict)
    """Stage → latest revision that it has been run for again; a stage that is not here is of revision 1."""

    def of(self, stage: str) -> int:
        """Return which revision a stage's output is of."""
        return self.stages.get(stage, 1)


def revised_key(tenant: str, job_id: str, stage: str, revision: int) -> str:
    """Return the key of what a stage made of a revision."""
    if revision == 1:
        return artifact_key(tenant, job_id, stage)
    return f"{_folder(tenant, job_id)}/{revision:04d}-{stage}.json"


async def list_revisions(artifacts: ArtifactStore, tenant: str, job_id: str) -> Revisions:
    """Say what there is. Raises ArtifactStoreUnavailable."""
    latest, stages = 1, dict[str, int]()
    for key in await artifacts.list_keys(_folder(tenant, job_id)):
        match = _NAME.fullmatch(key.rsplit("/", 1)[1])
        if match is None:
            continue
        number, stage = int(match[1]), match[2]
        if stage is None:
            latest = max(latest, number)
        else:
            stages[stage] = max(stages.get(stage, 1), number)
    return Revisions(latest=latest, stages=stages)


async def load_revision(artifacts: ArtifactStore, tenant: str, job_id: str, number: int) -> Revision:
    """Return a revision after the first. Raises NotFound."""
    found = None
    if 1 < number <= MOST_REVISIONS:
        found = await load_artifact(artifacts, _key(tenant, job_id, number), Revision)
    if found is None:
        raise NotFound(f"this transcript has no revision {number}", "revision")
    return found


async def latest_transcript(artifacts: ArtifactStore, tenant: str, job_id: str) -> Transcript | None:
    """Return the latest revision's transcript; None where nobody has changed what the job made."""
    latest = (await list_revisions(artifacts, tenant, job_id)).latest
    return (await load_revision(artifacts, tenant, job_id, latest)).transcript if latest > 1 else None


async def keep_revision(
    artifacts: ArtifactStore,
    tenant: str,
    job_id: str,
    transcript: Transcript,
    *,
    after: int,
    origin: RevisionOrigin,
    author: str = "",
) -> Revision:
    """Write the revision that follows ``after``. Raises RevisionChanged where somebody else has, InvalidRequest."""
    if after >= MOST_REVISIONS:
        raise InvalidRequest(f"a transcript has at most {MOST_REVISIONS:,} revisions", "segments")
    revision = Revision(
        number=after + 1,
        transcript=transcript,
        origin=origin,
        author=author,
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )
    data = await asyncio.to_thread(to_json, revision)
    if not await artifacts.create(_key(tenant, job_id, revision.number), data):
        raise RevisionChanged("somebody else has changed this transcript since: read it again", "If-Match")
    return revision


async def keep_new_base(artifacts: ArtifactStore, tenant: str, job_id: str, transcript: Transcript) -> None:
    """Write what a retry made anew as a revision of its own, where there are corrections of what was there before."""
    while (latest := (await list_revisions(artifacts, tenant, job_id)).latest) > 1:
        newest = await load_revision(artifacts, tenant, job_id, latest)
        if newest.origin == "retry" and newest.transcript == transcript:
            return  # this stage was here before, and died before it had written its own artifact
        try:
            await keep_revision(artifacts, tenant, job_id, transcript, after=latest, origin="retry")
        except RevisionChanged:
            continue
        return


def without_words_of(revision: Revision) -> Revision:
    """Return who changed it when, without the transcript: for a list."""
    return replace(revision, transcript=replace(revision.transcript, segments=()))


def _folder(tenant: str, job_id: str) -> str:
    return f"{tenant}/{job_id}/revisions"


def _key(tenant: str, job_id: str, number: int) -> str:
    return f"{_folder(tenant, job_id)}/{number:04d}.json"
