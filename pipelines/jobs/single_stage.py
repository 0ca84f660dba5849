"""Jobs of one stage: a text, a question, a reindexing."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace

import pipelines
from pipelines.domain.answer import ChatRequest
from pipelines.domain.encoding import to_json, to_plain
from pipelines.domain.job import JobMetrics, JobResult, JobStatus, NewJob
from pipelines.domain.model import describe_model
from pipelines.domain.template import Skill, SkillRequest
from pipelines.errors import DeadlineExceeded, JobStoreUnavailable, NotFound, PassageStoreUnavailable, RayScribeError
from pipelines.jobs.artifacts import artifact_key, load_artifact, made_once
from pipelines.jobs.clock import JobClock
from pipelines.jobs.failure import JobFailed, failure_of, only_known_errors
from pipelines.jobs.ports import ProcessingOptions
from pipelines.jobs.submit import load_request, require_first_reindexing
from pipelines.language.ports import LanguagePorts
from pipelines.language.understand import apply_skill
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.jobs import JobQueue, StepRunner
from pipelines.ports.models import Embedder
from pipelines.ports.passages import CollectionReplacer, PassageStore
from pipelines.retrieval.answers import answer_question, collect_answer
from pipelines.retrieval.indexing import ReindexPosition, reindex_collection
from pipelines.retrieval.ports import ChatPorts


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleStage:
    """The only stage of one job."""

    job: NewJob
    stage: str
    artifacts: ArtifactStore
    steps: StepRunner
    options: ProcessingOptions
    clock: JobClock = field(default_factory=JobClock)

    async def run(self, make: Callable[[], Awaitable[JobResult]], *, timeout_s: float) -> str:
        """Make the result, unless it is there, and return its key; what ``make`` returns gets versions and metrics.

        Emits ``started`` and ``stage``; the terminal event is the queue's. Raises JobFailed with what the job's owner
        may see. ``timeout_s`` is for the job's own work: what is busy or away is waited for.
        """
        try:
            async with self.clock.limit(timeout_s):
                done = await self.steps.step(
                    self.stage, lambda: only_known_errors(self.stage, lambda: self._announced(make))
                )
        except TimeoutError:
            error = DeadlineExceeded(f"the job worked for longer than {timeout_s:.0f} s")
            raise JobFailed(failure_of(error, self.stage)) from None
        except RayScribeError as error:
            raise JobFailed(failure_of(error, self.stage)) from error
        return str(done["artifact"])

    async def report(self, progress: float) -> None:
        """Tell how far the stage is, 0–1."""
        await self.steps.emit("stage", {"stage": self.stage, "progress": round(progress, 3)})

    async def _announced(self, make: Callable[[], Awaitable[JobResult]]) -> Mapping[str, object]:
        started = time.monotonic()
        await self.steps.emit("started", {})
        await self.report(0.0)
        key = artifact_key(self.job.tenant, self.job.job_id, "result")

        async def completed() -> JobResult:
            result = await make()
            seconds = round(time.monotonic() - started, 3)
            return replace(
                result,
                versions={"pipeline": pipelines.__version__, **result.versions},
                metrics=JobMetrics(
                    processing_s=seconds,
                    stage_s={self.stage: seconds},
                    waiting_s=round(self.clock.waiting_s, 3),
                ),
            )

        await self.clock.wait_out(lambda: made_once(self.artifacts, key, JobResult, completed))
        return {"artifact": key, "seconds": round(time.monotonic() - started, 3)}


_CHARACTERS_PER_S = 15.0
"""As fast as people speak: what the time limit of a text is reckoned by."""


async def process_text(
    job: NewJob, steps: StepRunner, *, ports: LanguagePorts, artifacts: ArtifactStore, options: ProcessingOptions
) -> str:
    """Apply the skill to the text that was kept with the job, and return the key of the result. Raises JobFailed."""
    stage = "enhance" if Skill.ENHANCE.feature in job.request.features else "understand"
    single = SingleStage(job=job, stage=stage, artifacts=artifacts, steps=steps, options=options)

    async def make() -> JobResult:
        request = await load_request(artifacts, job, SkillRequest)
        outcome = await apply_skill(request, ports)
        skill = request.skill.value
        return JobResult(
            language=request.transcript.language,
            speakers=request.transcript.speakers,
            results={skill: outcome.result},
            versions={"llm": {skill: outcome.versions}},
            degraded=outcome.degraded,
        )

    return await single.run(make, timeout_s=options.timeout_s(job.upload.bytes / _CHARACTERS_PER_S))


async def process_chat(
    job: NewJob, steps: StepRunner, *, ports: ChatPorts, artifacts: ArtifactStore, options: ProcessingOptions
) -> str:
    """Answer the question that was kept with the job, and return the key of the result. Raises JobFailed.

    The result's ``chat`` is an Answer.
    """
    single = SingleStage(job=job, stage="answer", artifacts=artifacts, steps=steps, options=options)

    async def make() -> JobResult:
        request = await load_request(artifacts, job, ChatRequest)
        async with aclosing(answer_question(ports, job.tenant, request)) as events:
            answer = await collect_answer(events)
        return JobResult(results={"chat": to_plain(answer)}, versions=answer.versions, degraded=answer.degraded)

    return await single.run(make, timeout_s=options.timeout_base_s)


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
    single = SingleStage(job=job, stage="index", artifacts=artifacts, steps=steps, options=options)
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
    return (await passages.collection(tenant, collection)).passages


async def _result(embedder: Embedder, collection: str, passages: int) -> JobResult:
    model = await embedder.info()
    done = {"collection": collection, "passages": passages, "embedder": model.name}
    return JobResult(
        results={"reindex": done},
        versions={"embedder": describe_model(model)},
        degraded=(model.fallback,) if model.fallback else (),
    )
