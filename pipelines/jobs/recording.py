"""The job itself: every stage a durable step, whose output is an artifact and whose return value is a reference.

    prepare ─▶ transcribe ∥ diarize ─▶ attribute ─▶ enhance ∥ understand ∥ index ─▶ result

Each parallel branch is exactly one step and branches start in a fixed order, so that a replay meets the same steps. A
stage that finds its artifact does nothing: a job may be killed anywhere and run again, from anywhere. Changing the
order of steps changes what a replay means: raise ``stage_plan.WORKFLOW_VERSION`` with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from pipelines.domain.job import NewJob, Stage
from pipelines.domain.transcript import WindowTranscript
from pipelines.errors import DeadlineExceeded, RayScribeError
from pipelines.jobs.clock import JobClock, ModelSlots
from pipelines.jobs.failure import JobFailed, failure_of, only_known_errors
from pipelines.jobs.ports import ProcessingOptions, RecordingPorts
from pipelines.jobs.stage_records import StageProgress, plan_stages
from pipelines.jobs.stages import RecordingStages
from pipelines.ports.jobs import StepRunner

StepResult = Mapping[str, object]
ResultT = TypeVar("ResultT")


async def process_recording(
    job: NewJob,
    ports: RecordingPorts,
    steps: StepRunner,
    options: ProcessingOptions | None = None,
    slots: ModelSlots | None = None,
) -> str:
    """Run all stages that the request needs and write ``result.json`` once; return its key.

    What is busy or away is waited for; the time limit is for the job's own work. ``slots``: shared with other jobs.
    Emits ``started``, ``stage`` and ``window`` events; the terminal event is the queue's. Raises JobFailed with what
    the job's owner may see; what the stages produced until then stays.
    """
    options = options or ProcessingOptions()
    clock = JobClock()
    stages = RecordingStages(job, ports, options, clock, slots or ModelSlots.of(options))
    return await _JobRun(job, stages, steps, options, clock).run()


class _JobRun:
    """One run of one job: which step comes when, and what is said about it."""

    def __init__(
        self, job: NewJob, stages: RecordingStages, steps: StepRunner, options: ProcessingOptions, clock: JobClock
    ) -> None:
        self._stages = stages
        self._steps = steps
        self._options = options
        self._clock = clock
        self._plan = plan_stages(job.request)
        self._progress = StageProgress(self._plan)
        self._duration_s: float | None = None

    async def run(self) -> str:
        prepared = await self._limited(None, lambda: self._stage(Stage.PREPARE, self._stages.prepare))
        duration_s = prepared["duration_s"]
        self._duration_s = float(duration_s) if isinstance(duration_s, int | float) else None
        return await self._limited(self._duration_s, self._run_prepared)

    async def _limited(self, duration_s: float | None, body: Callable[[], Awaitable[ResultT]]) -> ResultT:
        limit_s = self._options.timeout_s(duration_s)
        try:
            async with self._clock.limit(limit_s):
                return await body()
        except TimeoutError:
            error = DeadlineExceeded(f"the job worked for longer than {limit_s:.0f} s")
            raise JobFailed(failure_of(error, self._progress.stage)) from None

    async def _run_prepared(self) -> str:
        await self._together({Stage.TRANSCRIBE: self._transcribe, Stage.DIARIZE: self._stages.diarize})
        await self._together({Stage.ATTRIBUTE: self._stages.attribute})
        await self._together(
            {
                Stage.ENHANCE: self._stages.enhance,
                Stage.UNDERSTAND: self._stages.understand,
                Stage.INDEX: self._stages.index,
            }
        )
        result = await self._step("result", None, lambda: self._clock.wait_out(self._stages.write_result))
        return str(result["artifact"])

    async def _transcribe(self) -> StepResult:
        return await self._stages.transcribe(self._on_window)

    async def _together(self, bodies: Mapping[Stage, Callable[[], Awaitable[StepResult]]]) -> None:
        """Run the planned ones of these stages at the same time; the first failure stops the others."""
        try:
            async with asyncio.TaskGroup() as group:
                for stage, body in bodies.items():
                    if stage in self._plan:
                        group.create_task(self._stage(stage, body))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None

    async def _stage(self, stage: Stage, body: Callable[[], Awaitable[StepResult]]) -> StepResult:
        async def announced() -> StepResult:
            if stage is Stage.PREPARE:
                await self._steps.emit("started", {})
            self._progress.start(stage)
            await self._emit("stage", waiting_s=self._waiting_s)
            result = await self._clock.wait_out(body)
            self._progress.advance(stage, 1.0)
            if self._progress.stage is not None:
                await self._emit("stage", waiting_s=self._waiting_s)
            return {**result, "waiting_s": self._waiting_s}

        result = await self._step(stage.value, stage, announced)
        self._progress.advance(stage, 1.0)  # a replay returns without running the body
        waited_s = result.get("waiting_s")
        self._clock.restore(waited_s if isinstance(waited_s, int | float) else 0.0)
        return result

    @property
    def _waiting_s(self) -> float:
        return round(self._clock.waiting_s, 3)

    async def _step(self, name: str, stage: Stage | None, body: Callable[[], Awaitable[StepResult]]) -> StepResult:
        try:
            return await self._steps.step(name, lambda: only_known_errors(name, body))
        except RayScribeError as error:
            raise JobFailed(failure_of(error, stage.value if stage else None)) from error

    async def _on_window(self, window: WindowTranscript) -> None:
        if self._duration_s:
            self._progress.advance(Stage.TRANSCRIBE, min(0.99, window.end_s / self._duration_s))
        await self._emit("window", start_s=window.start_s, end_s=window.end_s, **self._stages.place_of(window))

    async def _emit(self, event_type: str, **data: object) -> None:
        stage = self._progress.stage
        known = {"stage": stage.value if stage else None, "progress": self._progress.value}
        await self._steps.emit(event_type, {**known, **data})


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure to report: whatever stops the run as such (cancelling) goes before a stage's failure."""
    flat: list[BaseException] = []
    for failure in failures.exceptions:
        flat += [_first(failure)] if isinstance(failure, BaseExceptionGroup) else [failure]
    return next((failure for failure in flat if not isinstance(failure, JobFailed)), flat[0])
