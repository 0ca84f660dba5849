"""Durable steps of one job: a StepRunner over DBOS."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from dbos import DBOS, DBOSClient, StepOptions
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from pipelines.errors import DependencyError
from pipelines.jobs.dbos.records import EVENTS

_SNAPSHOT_INTERVAL_S = 0.5


class DbosStepRunner:
    """Implements StepRunner inside a DBOS workflow.

    A step is preemptible: a cancelled job's step is stopped within about a second. A step that fails because something
    behind it is away is tried again for ``patience_s``; that happens inside the step, so that cancelling ends it too.
    """

    def __init__(self, client: DBOSClient, job_id: str, *, patience_s: float) -> None:
        self._client = client
        self._job_id = job_id
        self._patience_s = patience_s
        self._in_order = asyncio.Lock()
        self._snapshot: tuple[object, float] = (None, 0.0)

    async def step(self, name: str, body: Callable[[], Awaitable[Mapping[str, object]]]) -> Mapping[str, object]:
        """Run ``body`` once and for all under ``name``."""

        async def patiently() -> dict[str, object]:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(_may_pass),
                stop=stop_after_delay(self._patience_s),
                wait=wait_exponential_jitter(multiplier=0.5, max=10.0),
                reraise=True,
            ):
                with attempt:
                    return dict(await body())
            raise AssertionError("tenacity ends by a result or an exception")

        return await DBOS.run_step_async(StepOptions(name=name, preemptible=True), patiently)

    async def emit(self, event_type: str, data: Mapping[str, object]) -> None:
        """Append to the job's stream, and keep the snapshot of stage and progress that status is read from."""
        async with self._in_order:  # branches write at the same time, and DBOS in threads
            await DBOS.write_stream_async(EVENTS, {"type": event_type, "data": dict(data)})
        stage, taken_at = self._snapshot
        if "progress" in data and (data["stage"] != stage or time.monotonic() - taken_at > _SNAPSHOT_INTERVAL_S):
            self._snapshot = (data["stage"], time.monotonic())
            await self.note(stage=data["stage"], progress=data["progress"])

    async def note(self, **attributes: object) -> None:
        """Merge into what the job is listed by; waits out a locked database."""
        await asyncio.to_thread(self._client.update_workflow_attributes, self._job_id, attributes, merge=True)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, DependencyError)
