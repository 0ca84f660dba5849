"""How jobs wait: the clock, the turns, and many jobs at a model that holds few windows."""

import asyncio
import selectors
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from pipelines.domain.audio import (
    AudioExtent,
    AudioSource,
    ChannelReport,
    PieceCut,
    Recording,
    RecordingPiece,
    Waveform,
    Window,
    WindowingOptions,
)
from pipelines.domain.job import JobResult, NewJob, Upload
from pipelines.domain.model import AsrInfo
from pipelines.domain.transcript import TranscriptionOptions, WindowTranscript
from pipelines.errors import (
    AudioDamaged,
    CollectionDamaged,
    DeadlineExceeded,
    GenerationInvalid,
    ModelUnavailable,
    Overloaded,
    RayScribeError,
)
from pipelines.fakes.models import FakeTranscriber
from pipelines.fakes.steps import InMemoryStepRunner, SimulatedCrash
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.jobs.artifacts import load_result
from pipelines.jobs.clock import FairSlots, JobClock
from pipelines.jobs.failure import JobFailed
from pipelines.jobs.ports import ProcessingOptions, RecordingPorts
from pipelines.jobs.run import job_flows, run_job
from tests.jobs.recordings import fake_ports, new_job

RAW = "raw_transcript"
JOBS, WINDOWS = 16, 48


class SkippingSelector(selectors.SelectSelector):
    """Does not wait: ``skipped_s`` is the time that it would have waited."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None:
            self.skipped_s += timeout
            timeout = 0.0
        return super().select(timeout)


class SkippingLoop(asyncio.SelectorEventLoop):
    """Whenever nothing is left to do, it is the time of the next timer."""

    def __init__(self) -> None:
        self.skipping = SkippingSelector()
        super().__init__(self.skipping)

    def time(self) -> float:
        return self.skipping.skipped_s


def at_once(test: Callable[[], Awaitable[None]]) -> None:
    """Run ``test`` in no time, by a clock that moves only while everything waits."""

    async def body() -> None:
        await test()

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(body())


class TestClock:
    def test_waits_at_the_same_time_count_once(self) -> None:
        async def test() -> None:
            clock = JobClock()

            async def wait(before_s: float, for_s: float) -> None:
                await asyncio.sleep(before_s)
                with clock.waiting():
                    await asyncio.sleep(for_s)

            await asyncio.gather(wait(0, 10), wait(5, 10), wait(100, 1))
            assert clock.waiting_s == pytest.approx(16)
            clock.restore(40.0)
            clock.restore(30.0)
            assert clock.waiting_s == pytest.approx(40)

        at_once(test)

    def test_a_limit_that_is_known_later_counts_from_the_beginning(self) -> None:
        async def test() -> None:
            clock = JobClock()
            began_s = asyncio.get_running_loop().time()

            async def work_and_wait() -> None:
                async with clock.limit(1_000.0):
                    await asyncio.sleep(6)
                    with clock.waiting():
                        await asyncio.sleep(100)
                        clock.set_limit(10.0)
                    await asyncio.sleep(1_000)

            with pytest.raises(TimeoutError):
                await work_and_wait()
            assert asyncio.get_running_loop().time() - began_s == pytest.approx(110)

        at_once(test)

    def test_the_limit_is_for_work_and_stands_still_while_anything_waits(self) -> None:
        async def test() -> None:
            clock = JobClock()
            began_s = asyncio.get_running_loop().time()

            async def work_and_wait() -> None:
                async with clock.limit(10.0):
                    await asyncio.sleep(6)
                    with clock.waiting():
                        await asyncio.sleep(1_000)
                    await asyncio.sleep(3)
                    with clock.waiting(), clock.waiting():
                        await asyncio.sleep(1_000)
                    await asyncio.sleep(1_000)

            with pytest.raises(TimeoutError):
                await work_and_wait()
            assert asyncio.get_running_loop().time() - began_s == pytest.approx(2_010)
            async with clock.limit(10.0):
                await asyncio.sleep(9)

        at_once(test)

    @pytest.mark.parametrize("error", [ModelUnavailable("away"), Overloaded("busy", None, 60.0)])
    def test_what_is_busy_or_away_for_a_week_is_waited_for(self, error: RayScribeError) -> None:
        async def test() -> None:
            clock, loop = JobClock(), asyncio.get_running_loop()
            back_s = loop.time() + 7 * 24 * 3600

            async def call() -> str:
                await asyncio.sleep(20)  # a connection that is not refused, but not answered either
                if loop.time() < back_s:
                    raise error
                return "here"

            async with clock.limit(60.0):
                assert await clock.wait_out(call) == "here"
            assert clock.waiting_s == pytest.approx(7 * 24 * 3600, rel=0.01)

        at_once(test)

    def test_the_pause_is_what_the_error_says_and_else_grows(self) -> None:
        async def pauses_s(error: RayScribeError) -> list[float]:
            clock, loop, times = JobClock(), asyncio.get_running_loop(), list[float]()

            async def call() -> None:
                times.append(loop.time())
                if len(times) < 12:
                    raise error

            await clock.wait_out(call)
            return [later - sooner for sooner, later in pairwise(times)]

        async def test() -> None:
            assert all(7.0 <= pause <= 8.75 for pause in await pauses_s(Overloaded("busy", None, 7.0)))
            growing = await pauses_s(ModelUnavailable("away"))
            assert growing[0] <= 0.5
            assert all(pause <= 30.0 for pause in growing)
            assert growing[-1] >= 15.0

        at_once(test)

    def test_a_call_that_hangs_each_time_ends_by_the_jobs_limit(self) -> None:
        async def test() -> None:
            clock, calls = JobClock(), list[int]()

            async def hang() -> None:
                calls.append(1)
                await asyncio.sleep(100)
                raise DeadlineExceeded("no answer")

            async def limited() -> None:
                async with clock.limit(1_000.0):
                    await clock.wait_out(hang)

            with pytest.raises(TimeoutError):
                await limited()
            assert len(calls) == 10

        at_once(test)

    @pytest.mark.parametrize("error", [AudioDamaged("x"), CollectionDamaged("x"), GenerationInvalid("x")])
    def test_what_waiting_cannot_help_is_raised_at_once(self, error: RayScribeError) -> None:
        async def test() -> None:
            calls: list[int] = []

            async def fail() -> None:
                calls.append(1)
                raise error

            with pytest.raises(type(error)):
                await JobClock().wait_out(fail)
            assert calls == [1]

        at_once(test)


class TestTurns:
    async def test_the_job_that_holds_fewest_comes_first_then_who_came_first(self) -> None:
        slots, clock, order, gate = FairSlots(2), JobClock(), list[str](), asyncio.Event()

        async def call(job_id: str, name: str) -> None:
            async with slots.hold(job_id, clock):
                order.append(name)
                await gate.wait()

        names = ["long 1", "long 2", "long 3", "long 4", "short 1", "late 1"]
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(call(name.split()[0], name))
            await asyncio.sleep(0)
            assert order == ["long 1", "long 2"]
            gate.set()
        assert order[2:] == ["short 1", "long 3", "late 1", "long 4"]

    async def test_whoever_stops_waiting_takes_no_slot_along(self) -> None:
        slots, clock = FairSlots(1), JobClock()

        async def call(gate: asyncio.Event) -> None:
            async with slots.hold("job", clock):
                await gate.wait()

        for given in (False, True):
            gate = asyncio.Event()
            first, second = (asyncio.create_task(call(gate)) for _ in range(2))
            await asyncio.sleep(0)
            gate.set()
            if given:  # the first ends, and gives its slot to the second, which is cancelled before it can look
                await first
            second.cancel()
            await asyncio.gather(first, second, return_exceptions=True)
            async with asyncio.timeout(10), slots.hold("other", clock):
                pass


class CrowdedTranscriber(FakeTranscriber):
    """Holds so many windows, and refuses more. Answers nobody before it has been asked ``begins_at`` times."""

    def __init__(self, *, holds: int, begins_at: int) -> None:
        super().__init__()
        self._holds = holds
        self._begins_at = begins_at
        self._begun = asyncio.Event()
        self.asked = self.inside = self.most_inside = self.refused = 0

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        self.asked += 1
        self.inside += 1
        if self.asked >= self._begins_at:
            self._begun.set()
        self.most_inside = max(self.most_inside, self.inside)
        try:
            if self.inside > self._holds:
                self.refused += 1
                raise Overloaded("too many calls are waiting for this model", None, 0.02)
            await self._begun.wait()
            return await super().transcribe(window, options)
        finally:
            self.inside -= 1

    async def info(self) -> AsrInfo:
        return replace(await super().info(), batch_size=24)


class WindowReader:
    """Implements RecordingReader without a recording: many silent windows."""

    def __init__(self, windows: int = WINDOWS) -> None:
        self._windows = windows

    async def probe(self, upload: Upload) -> Recording:
        return Recording(
            filename=upload.filename, sha256="", bytes=1, duration_s=30.0 * self._windows,
            container="wav", codec="pcm_s16le", channels=1, sample_rate_hz=16_000,
        )  # fmt: skip

    async def windows(
        self, source: str | AudioSource, options: WindowingOptions, *, first_index: int = 0
    ) -> AsyncGenerator[Window | AudioExtent, None]:
        for index in range(first_index, self._windows):
            yield Window(
                index=index, start_s=30.0 * index, end_s=30.0 * index + 30, samples=np.zeros(16, np.int16), speech=()
            )
        yield AudioExtent(duration_s=30.0 * self._windows, speech_s=0.0)

    async def channels(self, artifact: str, *, max_duration_s: float) -> ChannelReport:
        raise NotImplementedError

    async def pieces(
        self, source: str | AudioSource, cut: PieceCut, *, max_duration_s: float, skip: Collection[int] = ()
    ) -> AsyncGenerator[RecordingPiece, None]:
        for piece in tuple[RecordingPiece, ...]():
            yield piece

    async def samples(self, artifact: str, *, max_duration_s: float, lead: Sequence[str] = ()) -> object:
        raise NotImplementedError

    async def waveform(self, artifact: str, *, max_duration_s: float) -> Waveform:
        raise NotImplementedError


async def run_jobs(transcriber: FakeTranscriber, *, jobs: int = JOBS, **options: Any) -> list[JobResult]:
    """Run jobs at the same time, as one runner does; raises what fails."""
    artifacts = InMemoryArtifactStore()
    ports = RecordingPorts(reader=WindowReader(), transcriber=transcriber, artifacts=artifacts)
    flows = job_flows(ports, None, ProcessingOptions(**options))

    async def run(job: NewJob) -> JobResult:
        await run_job(flows, job, InMemoryStepRunner())
        result = await load_result(artifacts, job.tenant, job.job_id)
        assert result is not None
        return result

    return await asyncio.gather(*(run(new_job(RAW)) for _ in range(jobs)))


class TestManyJobs:
    async def test_none_fails_at_a_model_that_refuses_most_of_their_windows(self) -> None:
        transcriber = CrowdedTranscriber(holds=96, begins_at=JOBS * WINDOWS)
        results = await run_jobs(transcriber)
        assert [result.metrics.windows for result in results] == [WINDOWS] * JOBS
        assert transcriber.refused >= JOBS * WINDOWS - 96
        assert max(result.metrics.waiting_s or 0.0 for result in results) >= 0.02

    async def test_together_they_send_what_the_model_holds(self) -> None:
        transcriber = CrowdedTranscriber(holds=96, begins_at=96)
        results = await run_jobs(transcriber, windows_at_once=96)
        assert [result.metrics.windows for result in results] == [WINDOWS] * JOBS
        assert (transcriber.most_inside, transcriber.refused) == (96, 0)

    async def test_waiting_does_not_count_towards_the_time_limit(self) -> None:
        class AwayAtFirst(FakeTranscriber):
            refusals = 2

            async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
                if window.index == 0 and self.refusals:
                    self.refusals -= 1
                    raise ModelUnavailable("left alone for a while", None, 1.1)
                return await super().transcribe(window, options)

        [result] = await run_jobs(AwayAtFirst(), jobs=1, timeout_base_s=2.0, timeout_factor=0.0)
        assert result.metrics.waiting_s is not None
        assert result.metrics.waiting_s >= 2.2

    async def test_a_model_that_hangs_is_the_jobs_own_time(self) -> None:
        class Hanging(FakeTranscriber):
            async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
                await asyncio.sleep(0.05)
                raise DeadlineExceeded("no answer", None, 0.01)

        with pytest.raises(JobFailed) as caught:
            await run_jobs(Hanging(), jobs=1, timeout_base_s=0.5, timeout_factor=0.0)
        assert (caught.value.failure.code, caught.value.failure.stage) == ("deadline_exceeded", "transcribe")

    async def test_a_recording_whose_headers_nobody_can_read_in_time_ends_by_the_limit_too(self) -> None:
        class HangingReader(WindowReader):
            async def probe(self, upload: Upload) -> Recording:
                await asyncio.sleep(0.05)
                raise DeadlineExceeded("no answer", None, 0.01)

        ports = RecordingPorts(reader=HangingReader(), transcriber=FakeTranscriber(), artifacts=InMemoryArtifactStore())
        options = ProcessingOptions(timeout_base_s=0.5, timeout_factor=0.0)
        async with asyncio.timeout(60):
            with pytest.raises(JobFailed) as caught:
                await run_job(job_flows(ports, None, options), new_job(RAW), InMemoryStepRunner())
        assert (caught.value.failure.code, caught.value.failure.stage) == ("deadline_exceeded", "prepare")

    async def test_a_stage_tells_what_the_job_has_waited(self) -> None:
        ports, steps = await fake_ports(transcriber=CrowdedTranscriber(holds=1, begins_at=2)), InMemoryStepRunner()
        await run_job(job_flows(ports), new_job(RAW, "index"), steps)
        told = [data["waiting_s"] for kind, data in steps.events if kind == "stage"]
        assert told[0] == 0.0
        assert told[-1] == steps.results["transcribe"]["waiting_s"] != 0.0

    async def test_what_was_waited_before_a_crash_is_remembered(self) -> None:
        job, artifacts = new_job(RAW), InMemoryArtifactStore()
        ports = RecordingPorts(
            reader=WindowReader(), transcriber=CrowdedTranscriber(holds=8, begins_at=9), artifacts=artifacts
        )
        flows, steps = job_flows(ports), InMemoryStepRunner(crash_before="result")
        with pytest.raises(SimulatedCrash):
            await run_job(flows, job, steps)
        waited_s = steps.results["transcribe"]["waiting_s"]
        await run_job(flows, job, steps.resumed())
        result = await load_result(artifacts, job.tenant, job.job_id)
        assert result is not None
        assert result.metrics.waiting_s == waited_s
