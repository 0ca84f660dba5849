"""A job of one stage: one durable step, which writes ``result.json`` once.

The stage is the step's name, and it is the only one: how the flows of a recording change concerns no such job.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import pipelines
from pipelines.domain.job import JobMetrics, JobResult, NewJob, Stage
from pipelines.errors import DeadlineExceeded, RayScribeError
from pipelines.flows.job_failure import JobFailed, failure_of, only_known_errors
from pipelines.flows.recording_ports import ProcessingOptions
from pipelines.flows.stage_artifacts import artifact_key, made_once
from pipelines.ports import ArtifactStore, StepRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleStage:
    """The only stage of one job."""

    job: NewJob
    stage: Stage
    artifacts: ArtifactStore
    steps: StepRunner
    options: ProcessingOptions

    async def run(self, make: Callable[[], Awaitable[JobResult]], *, timeout_s: float) -> str:
        """Make the result, unless it is there, and return its key; what ``make`` returns gets versions and metrics.

        Emits ``started`` and ``stage``; the terminal event is the queue's. Raises JobFailed with what the job's owner
        may see.
        """
        try:
            async with asyncio.timeout(timeout_s):
                done = await self.steps.step(
                    self.stage.value, lambda: only_known_errors(self.stage.value, lambda: self._announced(make))
                )
        except TimeoutError:
            error = DeadlineExceeded(f"the job took longer than {timeout_s:.0f} s")
            raise JobFailed(failure_of(error, self.stage.value)) from None
        except RayScribeError as error:
            raise JobFailed(failure_of(error, self.stage.value)) from error
        return str(done["artifact"])

    async def report(self, progress: float) -> None:
        """Tell how far the stage is, 0–1."""
        await self.steps.emit("stage", {"stage": self.stage.value, "progress": round(progress, 3)})

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
                versions={"pipeline": pipelines.__version__, **self.options.versions, **result.versions},
                metrics=JobMetrics(processing_s=seconds, stage_s={self.stage.value: seconds}),
            )

        await made_once(self.artifacts, key, JobResult, completed)
        return {"artifact": key, "seconds": round(time.monotonic() - started, 3)}
