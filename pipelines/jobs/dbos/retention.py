"""Results are kept for a while: a scheduled workflow erases jobs that ended long ago, and leftovers of the killed."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dbos import DBOS

from pipelines.errors import JobStoreUnavailable, NotFound
from pipelines.jobs.dbos.database import JobDatabase
from pipelines.jobs.dbos.records import ENDED, WORKFLOW
from pipelines.jobs.erase import sweep_leftovers
from pipelines.jobs.erasures import Eraser
from pipelines.jobs.failure import place_of
from pipelines.ports.artifacts import ArtifactStore, KeepsHouse
from pipelines.ports.jobs import JobObserver, NoObserver

ERASURE = "erase_expired_jobs"
HOURLY = "23 * * * *"
_BATCH = 100
_RECORDS_S = 7 * 24 * 3600.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Erases what ended more than ``keep_s`` ago, with all that belongs to it; and leftovers of killed processes."""

    database: JobDatabase
    artifacts: ArtifactStore
    eraser: Eraser
    keep_s: float | None
    """None: jobs are kept."""
    observer: JobObserver = field(default_factory=NoObserver)

    def schedule(self, cron: str) -> None:
        """Register the workflow and its schedule. Blocking; call it before the launch of DBOS."""

        async def erase_expired(scheduled_at: str, context: object) -> None:
            await DBOS.run_step_async({"name": "erase"}, self.erase_expired)

        DBOS.workflow(name=ERASURE)(erase_expired)
        self.database.client.apply_schedules(
            [{"schedule_name": ERASURE, "workflow_name": ERASURE, "schedule": cron, "context": None}]
        )

    async def erase_expired(self) -> int:
        """Erase expired jobs, the records of earlier erasures, and leftovers; return how many jobs.

        A job that cannot be erased now is told to the observer and left to the next time. Raises JobStoreUnavailable
        and ArtifactStoreUnavailable.
        """
        erased = 0 if self.keep_s is None else await self._erase_jobs(_ago(self.keep_s))
        await asyncio.to_thread(self._forget_erasures, _ago(_RECORDS_S if self.keep_s is None else self.keep_s))
        if isinstance(self.artifacts, KeepsHouse):
            await self.artifacts.sweep()
            await sweep_leftovers(self.artifacts, self._known_jobs)
        return erased

    async def _erase_jobs(self, before: str) -> int:
        erased = left = 0
        while expired := await asyncio.to_thread(self._expired, before, left):
            for tenant, job_id in expired:
                if await self._erase(tenant, job_id):
                    erased += 1
                else:
                    left += 1
        return erased

    async def _erase(self, tenant: str, job_id: str) -> bool:
        """Erase one job; whatever is wrong with it must not keep the others. Raises JobStoreUnavailable."""
        try:
            await self.eraser.erase(tenant, job_id, "expired")
        except JobStoreUnavailable:
            raise
        except NotFound:
            logger.info("job %s was erased by somebody else", job_id)
            return False
        except Exception as error:
            logger.warning("job %s has expired and cannot be erased: %s", job_id, place_of(error))
            self.observer.erasure_failed(error)
            return False
        return True

    async def _known_jobs(self, job_ids: Sequence[str]) -> frozenset[str]:
        known: set[str] = set()
        for start in range(0, len(job_ids), _BATCH):
            batch = list(job_ids[start : start + _BATCH])
            found = await asyncio.to_thread(
                self.database.client.list_workflows, workflow_ids=batch, load_input=False, load_output=False
            )
            known.update(status.workflow_id for status in found)
        return frozenset(known)

    def _expired(self, before: str, skipped: int) -> list[tuple[str, str]]:
        """List the next expired jobs, after as many as have been left where they are."""
        found = self.database.client.list_workflows(
            name=WORKFLOW,
            status=ENDED,
            completed_before=before,
            limit=_BATCH,
            offset=skipped,
            load_input=False,
            load_output=False,
        )
        return [(str(status.authenticated_user), status.workflow_id) for status in found]

    def _forget_erasures(self, before: str) -> None:
        found = self.database.client.list_workflows(
            name=ERASURE, status=ENDED, completed_before=before, load_input=False, load_output=False
        )
        self.database.client.delete_workflows([status.workflow_id for status in found])
        self.database.forget()


def _ago(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() - seconds, UTC).isoformat()
