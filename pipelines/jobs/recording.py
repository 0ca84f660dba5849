"""The job itself: every stage a durable step, whose output is an artifact and whose return value is a reference.

Each parallel branch is exactly one step and branches start in the order of the table of stages, so that a replay meets
the same steps. A stage that finds its artifact does nothing: a job may be killed anywhere and run again, from anywhere.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

from pipelines.domain.job import JobResult, NewJob
from pipelines.domain.transcript import WindowTranscript
from pipelines.errors import ArtifactNotFound, DeadlineExceeded, RayScribeError
from pipelines.jobs.artifacts import artifact_key, made_once
from pipelines.jobs.clock import JobClock, ModelSlots
from pipelines.jobs.failure import JobFailed, failure_of, only_known_errors
from pipelines.jobs.ports import ProcessingOptions, RecordingPorts
from pipelines.jobs.result import compose_result, load_stage_outputs
from pipelines.jobs.stages import JobContext, Stage, plan_stages, run_stage
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
    return await _JobRun(job, ports, steps, options, slots or ModelSlots.of(options)).run()


class _JobRun:
    """One run of one job: which step comes when, and what is said about it."""

    def __init__(
        self, job: NewJob, ports: RecordingPorts, steps: StepRunner, options: ProcessingOptions, slots: ModelSlots
    ) -> None:
        self._steps = steps
        self._clock = JobClock()
        self._context = JobContext(job, ports, options, self._clock, slots, self._on_window)
        self._sections = plan_stages(job.request)
        self._progress = StageProgress(self._sections)
        self._duration_s: float | None = None

    async def run(self) -> str:
        names = [section[0].name for section in self._sections]
        before = 1 + names.index("prepare")
        for [alone] in self._sections[:before]:  # one after another, until the recording is known
            await self._limited(None, partial(self._stage, alone))
        return await self._limited(self._duration_s, lambda: self._run_prepared(self._sections[before:]))

    async def _run_prepared(self, sections: Sequence[Sequence[Stage[Any]]]) -> str:
        for section in sections:
            await self._together(section)
        result = await self._step("result", None, lambda: self._clock.wait_out(self._write_result))
        return str(result["artifact"])

    async def _limited(self, duration_s: float | None, body: Callable[[], Awaitable[ResultT]]) -> ResultT:
        limit_s = self._context.options.timeout_s(duration_s)
        try:
            async with self._clock.limit(limit_s):
                return await body()
        except TimeoutError:
            limit_s = self._context.options.timeout_s(self._duration_s)  # that of what was decoded, where it is known
            error = DeadlineExceeded(f"the job worked for longer than {limit_s:.0f} s")
            raise JobFailed(failure_of(error, self._progress.stage)) from None

    async def _together(self, section: Sequence[Stage[Any]]) -> None:
        """Run these stages at the same time; the first failure stops the others."""
        try:
            async with asyncio.TaskGroup() as group:
                for stage in section:
                    group.create_task(self._stage(stage))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None

    async def _stage(self, stage: Stage[Any]) -> StepResult:
        async def announced() -> StepResult:
            if stage in self._sections[0]:
                await self._steps.emit("started", {})
            self._progress.start(stage.name)
            await self._emit("stage", waiting_s=self._waiting_s)
            result = await self._clock.wait_out(lambda: run_stage(stage, self._context))
            for warning in cast(Sequence[Mapping[str, object]], result.get("warnings", ())):
                await self._emit("warning", **warning)
            self._progress.advance(stage.name, 1.0)
            if self._progress.stage is not None:
                await self._emit("stage", waiting_s=self._waiting_s)
            return {**result, "waiting_s": self._waiting_s}

        result = await self._step(stage.name, stage.name, announced)
        self._progress.advance(stage.name, 1.0)  # a replay returns without running the body
        waited_s = result.get("waiting_s")
        self._clock.restore(waited_s if isinstance(waited_s, int | float) else 0.0)
        if self._duration_s is None and (duration_s := _duration_s(result)) is not None:
            self._duration_s = duration_s  # as the container says, else as decoded: now the time limit is known
            self._clock.set_limit(self._context.options.timeout_s(duration_s))
        return result

    @property
    def _waiting_s(self) -> float:
        return round(self._clock.waiting_s, 3)

    async def _step(self, name: str, stage: str | None, body: Callable[[], Awaitable[StepResult]]) -> StepResult:
        try:
            return await self._steps.step(name, lambda: only_known_errors(name, body))
        except RayScribeError as error:
            raise JobFailed(failure_of(error, stage)) from error

    async def _write_result(self) -> StepResult:
        """Write ``result.json``, once."""
        job, artifacts = self._context.job, self._context.ports.artifacts
        key = artifact_key(job.tenant, job.job_id, "result")

        async def make() -> JobResult:
            result = compose_result(job.request, await load_stage_outputs(artifacts, job.tenant, job.job_id))
            if result is None:
                raise ArtifactNotFound("the output of the stage prepare is missing")
            return replace(result, metrics=replace(result.metrics, waiting_s=self._waiting_s))

        await made_once(artifacts, key, JobResult, make)
        return {"artifact": key}

    async def _on_window(self, window: WindowTranscript) -> None:
        done = window.end_s / self._duration_s if self._duration_s else window.read_share
        if done is not None:
            self._progress.advance("transcribe", min(0.99, done))
        await self._emit("window", start_s=window.start_s, end_s=window.end_s, **self._context.place_of(window))

    async def _emit(self, event_type: str, **data: object) -> None:
        known = {"stage": self._progress.stage, "progress": self._progress.value}
        await self._steps.emit(event_type, {**known, **data})


class StageProgress:
    """How far a job is: 0–1 over all its stages, never falling."""

    def __init__(self, sections: Sequence[Sequence[Stage[Any]]]) -> None:
        self._weights = {stage.name: stage.weight for section in sections for stage in section}
        self._parts: dict[str, float] = {}

    def start(self, stage: str) -> None:
        """Note that ``stage`` is under way."""
        self._parts.setdefault(stage, 0.0)

    def advance(self, stage: str, part: float) -> None:
        """Note that ``part`` (0–1) of ``stage`` is done."""
        self._parts[stage] = max(self._parts.get(stage, 0.0), min(part, 1.0))

    @property
    def stage(self) -> str | None:
        """The first stage that is under way: what a status line names."""
        return next((stage for stage in self._weights if self._parts.get(stage, 1.0) < 1.0), None)

    @property
    def value(self) -> float:
        """Progress, rounded to a thousandth."""
        done = sum(self._weights[stage] * part for stage, part in self._parts.items())
        return round(done / sum(self._weights.values()), 3)


def _duration_s(result: StepResult) -> float | None:
    duration_s = result.get("duration_s")
    return float(duration_s) if isinstance(duration_s, int | float) else None


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure to report: whatever stops the run as such (cancelling) goes before a stage's failure."""
    flat: list[BaseException] = []
    for failure in failures.exceptions:
        flat += [_first(failure)] if isinstance(failure, BaseExceptionGroup) else [failure]
    return next((failure for failure in flat if not isinstance(failure, JobFailed)), flat[0])
