"""A collection moved to the embedder that is loaded now, as a durable job; searches go on meanwhile."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from pipelines.domain.encoding import to_json
from pipelines.domain.job import JobResult, JobStatus, NewJob, Stage
from pipelines.errors import DeadlineExceeded, JobStoreUnavailable, NotFound, PassageStoreUnavailable
from pipelines.flows.compose_result import describe_model
from pipelines.flows.job_failure import JobFailed
from pipelines.flows.recording_ports import ProcessingOptions
from pipelines.flows.reindex_collection import ReindexPosition, reindex_collection
from pipelines.flows.run_single_stage import SingleStage
from pipelines.flows.stage_artifacts import artifact_key, load_artifact
from pipelines.flows.submit_request import require_first_reindexing
from pipelines.passage_ports import CollectionReplacer, PassageStore
from pipelines.ports import ArtifactStore, Embedder, JobQueue, StepRunner

_ALMOST = 0.99
"""The switch itself is still to come."""
_KEPT_EVERY = 8
"""Batches between two notes of how far it is: what a job that is killed embeds again at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReindexPorts:
    """Ports of one reindexing."""

    embedder: Embedder
    passages: PassageStore
    replacer: CollectionReplacer
    """The same store."""
    jobs: JobQueue | None = None
    """Where other reindexings, and that this one was cancelled, can be seen; None: nobody looks."""


async def process_reindex(
    job: NewJob, steps: StepRunner, *, ports: ReindexPorts, artifacts: ArtifactStore, options: ProcessingOptions
) -> str:
    """Embed the collection anew, switch it, and return the key of the result. Raises JobFailed.

    A job that was killed goes on with what it has left. One that was cancelled or fails for good leaves nothing hidden;
    where its runner died as well, what begins, deletes or erases next removes it.
    """
    single = SingleStage(job=job, stage=Stage.INDEX, artifacts=artifacts, steps=steps, options=options)
    collection = job.request.collection or ""
    key = artifact_key(job.tenant, job.job_id, "position")

    async def move() -> JobResult:
        if ports.jobs is not None:
            await require_first_reindexing(ports.jobs, job.tenant, collection, job.job_id)
        total = await _count_passages(ports.passages, job.tenant, collection)

        async def on_progress(position: ReindexPosition) -> None:
            if position.batches % _KEPT_EVERY == 0:
                await artifacts.write(key, to_json(position))
            await single.report(min(_ALMOST, position.embedded / max(total, 1)))

        start = await load_artifact(artifacts, key, ReindexPosition)
        await reindex_collection(
            ports.embedder, ports.replacer, job.tenant, collection, on_progress, start=start, token=job.job_id
        )
        passages = await _count_passages(ports.passages, job.tenant, collection)
        return await _result(ports.embedder, collection, passages)

    async def make() -> JobResult:
        try:
            return await move()
        except asyncio.CancelledError:
            if await _was_cancelled(ports.jobs, job):
                await _clean_up(ports.passages, job, collection)
            raise

    try:
        return await single.run(make, timeout_s=options.timeout_s(None))
    except JobFailed:
        await _clean_up(ports.passages, job, collection)
        raise


async def _was_cancelled(jobs: JobQueue | None, job: NewJob) -> bool:
    """Say whether the job itself was cancelled; otherwise its runner stops, and another one goes on."""
    if jobs is None:
        return False
    try:
        return (await jobs.get(job.tenant, job.job_id)).status is JobStatus.CANCELLED
    except NotFound:
        return True
    except JobStoreUnavailable:
        return False


async def _clean_up(passages: PassageStore, job: NewJob, collection: str) -> None:
    with suppress(PassageStoreUnavailable, DeadlineExceeded):
        await passages.drop_replacement(job.tenant, collection, job.job_id)


async def _count_passages(passages: PassageStore, tenant: str, collection: str) -> int:
    for found in await passages.collections(tenant):
        if found.name == collection:
            return found.passages
    raise NotFound("there is no such collection", "name")


async def _result(embedder: Embedder, collection: str, passages: int) -> JobResult:
    model = await embedder.info()
    done = {"collection": collection, "passages": passages, "embedder": model.name}
    return JobResult(
        results={"reindex": done},
        versions={"embedder": describe_model(model)},
        degraded=(model.fallback,) if model.fallback else (),
    )
