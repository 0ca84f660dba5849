"""A job disappears: passages, what was received, artifacts, and last its record."""

from contextlib import suppress

from pipelines.domain.job import JobKind
from pipelines.errors import JobEnded
from pipelines.passage_ports import PassageStore
from pipelines.ports import ArtifactStore, JobQueue


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
    if job.kind is JobKind.RECORDING and passages is not None and job.request.collection is not None:
        await passages.delete_job(tenant, job.request.collection, job_id)
    if job.kind is JobKind.REINDEX and passages is not None and job.request.collection is not None:
        await passages.drop_replacement(tenant, job.request.collection, job_id)
    await artifacts.delete_tree(f"{tenant}/{job_id}")
    await queue.erase(tenant, job_id)
