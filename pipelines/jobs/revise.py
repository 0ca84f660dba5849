"""A transcript is changed, and what was made of it follows: passages by themselves, the rest when somebody asks."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pipelines.domain.encoding import to_json
from pipelines.domain.job import Job, JobKind, JobRequest, JobResult, NewJob
from pipelines.domain.transcript import Revision, RevisionOrigin, Transcript
from pipelines.errors import Conflict, JobEnded, JobRunning, NotFound, RevisionChanged
from pipelines.jobs.clock import ModelSlots
from pipelines.jobs.features import wanted_stages
from pipelines.jobs.ports import ProcessingOptions, RecordingPorts
from pipelines.jobs.result import read_transcript, stale_stages
from pipelines.jobs.revisions import keep_revision, list_revisions
from pipelines.jobs.single_stage import SingleStage
from pipelines.jobs.stages import STAGES, JobContext, StageRecord, find_or_make
from pipelines.jobs.submit import keep_request, load_request, new_request_job
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.jobs import JobQueue, StepRunner

_NAMESPACE = uuid.UUID("6f0d3f5e-1b7c-5c1b-9a55-0c2f6f9e2d71")


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionRequest:
    """What a job of the kind ``revision`` does."""

    recording: NewJob
    """The job whose transcript was changed."""
    stages: tuple[str, ...]
    """To be run again: of those that read the transcript."""
    revision: int
    """On this one or a later one."""


async def revise_transcript(
    queue: JobQueue,
    artifacts: ArtifactStore,
    tenant: str,
    job_id: str,
    change: Callable[[Transcript], Transcript],
    *,
    expected: int,
    origin: RevisionOrigin,
    author: str = "",
) -> Revision:
    """Write the next revision of a transcript, and let its passages follow; return it.

    The job that embeds them is acknowledged first: a revision that nobody would ever find cannot come to be. A change
    that changes nothing makes no revision. Raises NotFound, JobRunning, Conflict (there is no transcript),
    RevisionChanged, what ``change`` raises, QueueFull, JobStoreUnavailable, ArtifactStoreUnavailable.
    """
    job, current = await read_transcript(queue, artifacts, tenant, job_id)
    if not job.status.ended:
        raise JobRunning("this job has not ended: its transcript cannot be changed yet")
    if current is None:
        raise Conflict("this job has no transcript")
    if current.number != expected:
        raise RevisionChanged(
            f"this transcript has revision {current.number}, and the change was made from {expected}", "If-Match"
        )
    changed = await asyncio.to_thread(change, current.transcript)
    if changed == current.transcript:
        return current
    if "index" in wanted_stages(job.request):
        await request_stages(queue, artifacts, job, ("index",), revision=expected + 1)
    revision = await keep_revision(artifacts, tenant, job_id, changed, after=expected, origin=origin, author=author)
    try:
        await queue.get(tenant, job_id)
    except NotFound:  # erased meanwhile: nothing of it may stay
        await artifacts.delete_tree(f"{tenant}/{job_id}")
        raise
    return revision


async def request_stages(
    queue: JobQueue, artifacts: ArtifactStore, job: Job, stages: Sequence[str], *, revision: int
) -> Job:
    """Enqueue the job that runs these stages for a revision; asked twice, it is one job. Raises as ``enqueue`` does."""
    name = f"{job.tenant}\n{job.job_id}\n{revision}\n{','.join(stages)}"
    own_id = str(uuid.uuid5(_NAMESPACE, name))
    # So that an erasure finds it; written before there is anything to be found.
    await artifacts.write(f"{_following(job.tenant, job.job_id)}/{own_id}.json", to_json(list(stages)))
    asked = RevisionRequest(recording=_as_submitted(job), stages=tuple(stages), revision=revision)
    folder = f"{job.tenant}/{own_id}/upload-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    upload = await keep_request(artifacts, folder, JobKind.REVISION, asked)
    request = JobRequest(features=(), collection=job.request.collection, priority=job.request.priority)
    return await queue.enqueue(new_request_job(job.tenant, own_id, JobKind.REVISION, request, upload))


async def remake(queue: JobQueue, artifacts: ArtifactStore, tenant: str, job_id: str) -> Job:
    """Enqueue a job that makes again whatever is of an older revision; return it.

    Raises NotFound, JobRunning, Conflict where nothing is old, and as ``enqueue`` does.
    """
    job, current = await read_transcript(queue, artifacts, tenant, job_id)
    if not job.status.ended:
        raise JobRunning("this job has not ended: what it makes is not old yet")
    if current is None:
        raise Conflict("this job has no transcript")
    stages = stale_stages(job.request, await list_revisions(artifacts, tenant, job_id))
    if not stages:
        raise Conflict("nothing of this job is older than its transcript")
    return await request_stages(queue, artifacts, job, stages, revision=current.number)


async def end_following(queue: JobQueue, artifacts: ArtifactStore, tenant: str, job_id: str) -> None:
    """End and remove the jobs that follow a transcript's revisions: before the recording itself is erased."""
    for key in await artifacts.list_keys(_following(tenant, job_id)):
        own_id = key.rsplit("/", 1)[1].removesuffix(".json")
        with suppress(NotFound):
            with suppress(JobEnded):
                await queue.cancel(tenant, own_id)
            await queue.settle(tenant, own_id)
            await artifacts.delete_tree(f"{tenant}/{own_id}")
            await queue.erase(tenant, own_id)


_AWAITED_S = 30.0
"""The job is acknowledged a moment before the revision is written; whoever died in between has written none."""
_LOOK_S = 0.2


async def process_revision(
    job: NewJob, steps: StepRunner, *, ports: RecordingPorts, options: ProcessingOptions, slots: ModelSlots
) -> str:
    """Run the stages that were asked for on the latest revision, and return the key of the result. Raises JobFailed.

    Where the transcript is changed meanwhile, they are run again: whoever ends last leaves the latest one's passages.
    """
    artifacts = ports.artifacts
    asked = await load_request(artifacts, job, RevisionRequest)
    recording, stages = asked.recording, [stage for stage in STAGES if stage.name in asked.stages]
    single = SingleStage(job=job, stage=stages[0].name, artifacts=artifacts, steps=steps, options=options)

    async def run_on(revision: int) -> list[StageRecord]:
        context = JobContext(recording, ports, options, single.clock, slots, revision=revision)
        records = []
        for number, stage in enumerate(stages, start=1):
            if stage.name == "index":  # always: another job may have written an older revision's passages since
                record = await stage.run(context)
                await artifacts.write(context.key(stage.name), await asyncio.to_thread(to_json, record))
            else:
                record = await find_or_make(stage, context)
            records.append(record)
            await single.report(0.99 * number / len(stages))
        return records

    async def make() -> JobResult:
        latest = await _awaited(artifacts, recording, asked.revision)
        done, records = 0, list[StageRecord]()
        while latest != done:
            done, records = latest, await run_on(latest)
            latest = (await list_revisions(artifacts, recording.tenant, recording.job_id)).latest
        await _drop_if_erased(ports, recording)
        return JobResult(
            results={"revision": {"job_id": recording.job_id, "revision": done, "stages": list(asked.stages)}},
            versions={key: value for record in records for key, value in record.versions.items()},
            degraded=tuple(entry for record in records for entry in record.degraded),
        )

    return await single.run(make, timeout_s=options.timeout_s(None))


async def _awaited(artifacts: ArtifactStore, recording: NewJob, revision: int) -> int:
    """Return the latest revision, when it is at least this one, or nobody writes it any more."""
    deadline_s = time.monotonic() + _AWAITED_S
    while (latest := (await list_revisions(artifacts, recording.tenant, recording.job_id)).latest) < revision:
        if time.monotonic() > deadline_s:
            break
        await asyncio.sleep(_LOOK_S)
    return latest


async def _drop_if_erased(ports: RecordingPorts, recording: NewJob) -> None:
    """Take passages back that were written while their recording was erased."""
    if await ports.artifacts.list_keys(f"{recording.tenant}/{recording.job_id}"):
        return
    if ports.passages is not None and recording.request.collection is not None:
        await ports.passages.delete_job(recording.tenant, recording.request.collection, recording.job_id)
    raise NotFound("this recording was erased")


def _as_submitted(job: Job) -> NewJob:
    return NewJob(
        job_id=job.job_id,
        tenant=job.tenant,
        request=job.request,
        upload=job.upload,
        created_at=job.created_at,
        body_hash="",
        kind=job.kind,
    )


def _following(tenant: str, job_id: str) -> str:
    return f"{tenant}/{job_id}/following"
