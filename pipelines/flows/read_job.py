"""A job as its owner sees it: where it stands, and what it has given so far."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from pipelines.domain.job import Job, JobEvent, JobKind, JobResult
from pipelines.domain.transcript import Transcript
from pipelines.errors import NotFound
from pipelines.flows.compose_result import compose_result
from pipelines.flows.stage_artifacts import load_artifact, load_result, load_stage_outputs
from pipelines.flows.transcription_waves import Wave
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


async def job_events(
    queue: JobQueue, artifacts: ArtifactStore, tenant: str, job_id: str, *, after: int = -1
) -> AsyncGenerator[JobEvent, None]:
    """Yield a job's events as JobQueue.events does, ``window`` with its text; an empty one where that was erased.

    Raises NotFound, JobStoreUnavailable, ArtifactStoreUnavailable.
    """
    key, texts = "", dict[int, str]()
    async with aclosing(queue.events(tenant, job_id, after=after)) as events:
        async for event in events:
            if event.type == "window" and "window" in event.data:
                data = dict(event.data)
                wanted, index = str(data.pop("artifact")), int(str(data.pop("window")))
                if wanted != key or index not in texts:  # a wave grows while it is read
                    key, texts = wanted, await _texts(artifacts, wanted)
                event = replace(event, data={**data, "text": texts.get(index, "")})
            yield event


async def _texts(artifacts: ArtifactStore, key: str) -> dict[int, str]:
    wave = await load_artifact(artifacts, key, Wave)
    return {window.transcript.index: window.transcript.text for window in wave.windows} if wave else {}


def require_recording(job: Job) -> None:
    """Raise NotFound for a job that is about no recording: it has neither sound nor transcript."""
    if job.kind is not JobKind.RECORDING:
        raise NotFound(f"a job of the kind {job.kind.value} has no recording")
