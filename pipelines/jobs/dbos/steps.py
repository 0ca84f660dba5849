"""Durable steps of one job: a StepRunner over DBOS."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from dbos import DBOS, DBOSClient, StepOptions

from pipelines.jobs.dbos.records import EVENTS

_SNAPSHOT_INTERVAL_S = 0.5


class DbosStepRunner:
    """Implements StepRunner inside a DBOS workflow.

    A step is preemptible: a cancelled job's step is stopped within about a second, also while it waits.
    """

    def __init__(self, client: DBOSClient, job_id: str) -> None:
        self._client = client
        self._job_id = job_id
        self._in_order = asyncio.Lock()
        self._snapshot: tuple[object, float] = (None, 0.0)

    async def step(self, name: str, body: Callable[[], Awaitable[Mapping[str, object]]]) -> Mapping[str, object]:
        """Run ``body`` once and for all under ``name``."""

        async def plain() -> dict[str, object]:
            return dict(await body())

        return await DBOS.run_step_async(StepOptions(name=name, preemptible=True), plain)

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
