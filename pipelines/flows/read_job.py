"""A job as its owner sees it: where it stands, and what it has given so far."""

from pipelines.domain.job import Job, JobKind, JobResult
from pipelines.domain.transcript import Transcript
from pipelines.errors import NotFound
from pipelines.flows.compose_result import compose_result
from pipelines.flows.stage_artifacts import load_result, load_stage_outputs
from pipelines.ports import ArtifactStore, JobQueue


async def read_job(queue: JobQueue, artifacts: ArtifactStore, tenant: str, job_id: str) -> tuple[Job, JobResult | None]:
    """Return a job and its result; of a job that is running, failed or cancelled, what its stages have left so far.

    None before the recording has been probed, and of a job about none until it has succeeded. Needs no runner. Raises
    NotFound, JobStoreUnavailable, ArtifactStoreUnavailable.
    """
    job = await queue.get(tenant, job_id)
    result = await load_result(artifacts, tenant, job_id)
    if result is not None or job.kind is not JobKind.RECORDING:
        return job, result
    outputs = await load_stage_outputs(artifacts, tenant, job_id)
    return job, compose_result(job.request, outputs, {})


async def read_transcript(
    queue: JobQueue, artifacts: ArtifactStore, tenant: str, job_id: str
) -> tuple[Job, Transcript | None]:
    """Return a job and the best transcript there is: with speakers, else without; None before it is transcribed.

    Raises NotFound, also for a job that is about no recording.
    """
    job = await queue.get(tenant, job_id)
    require_recording(job)
    return job, (await load_stage_outputs(artifacts, tenant, job_id)).transcript


def require_recording(job: Job) -> None:
    """Raise NotFound for a job that is about no recording: it has neither sound nor transcript."""
    if job.kind is not JobKind.RECORDING:
        raise NotFound(f"a job of the kind {job.kind.value} has no recording")
