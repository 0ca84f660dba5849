"""Results are kept for a while: a scheduled workflow erases jobs that ended long ago."""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from dbos import DBOS, DBOSClient

from pipelines.errors import NotFound
from pipelines.flows.erase_job import erase_job
from pipelines.ports import ArtifactStore, JobQueue, PassageStore
from pipelines.stores.dbos_records import ENDED, WORKFLOW
from pipelines.stores.fsspec_artifacts import FsspecArtifactStore

ERASURE = "erase_expired_jobs"
HOURLY = "23 * * * *"
_BATCH = 100
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Erases what ended more than ``keep_s`` ago, with all that belongs to it."""

    client: DBOSClient
    queue: JobQueue
    artifacts: ArtifactStore
    passages: PassageStore | None
    keep_s: float

    def schedule(self, cron: str) -> None:
        """Register the workflow and its schedule. Blocking; call it before the launch of DBOS."""

        async def erase_expired(scheduled_at: str, context: object) -> None:
            await DBOS.run_step_async({"name": "erase"}, self.erase_expired)

        DBOS.workflow(name=ERASURE)(erase_expired)
        self.client.apply_schedules(
            [{"schedule_name": ERASURE, "workflow_name": ERASURE, "schedule": cron, "context": None}]
        )

    async def erase_expired(self) -> int:
        """Erase expired jobs and the records of earlier erasures; return how many jobs."""
        before = datetime.fromtimestamp(time.time() - self.keep_s, UTC).isoformat()
        erased = 0
        while expired := await asyncio.to_thread(self._expired, before):
            for tenant, job_id in expired:
                try:
                    await erase_job(self.queue, self.artifacts, self.passages, tenant, job_id)
                    erased += 1
                except NotFound:
                    logger.info("job %s was erased by somebody else", job_id)
        await asyncio.to_thread(self._forget_erasures, before)
        if isinstance(self.artifacts, FsspecArtifactStore):
            await self.artifacts.sweep()
        return erased

    def _expired(self, before: str) -> list[tuple[str, str]]:
        found = self.client.list_workflows(
            name=WORKFLOW, status=ENDED, completed_before=before, limit=_BATCH, load_input=False, load_output=False
        )
        return [(str(status.authenticated_user), status.workflow_id) for status in found]

    def _forget_erasures(self, before: str) -> None:
        found = self.client.list_workflows(
            name=ERASURE, status=ENDED, completed_before=before, load_input=False, load_output=False
        )
        self.client.delete_workflows([status.workflow_id for status in found])


def unschedule(client: DBOSClient) -> None:
    """Stop erasing: results are kept. Blocking."""
    client.delete_schedule(ERASURE)
