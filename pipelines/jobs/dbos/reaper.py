"""Several runners on one PostgreSQL: who is alive, and whose jobs somebody else must take over.

DBOS knows executors but no heartbeat. Here each runner holds an advisory lock of the server for as long as its session
lives; whoever can take another's lock knows it to be dead. A runner that only lost its connection may be declared dead
too early; then DBOS's ownership token keeps it from writing anything more, so a job can be computed twice, not ended
twice. Needs sessions of its own: no transaction pooling between runner and server.
"""

import asyncio
import hashlib
import logging

import sqlalchemy
from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from pipelines.jobs.dbos.database import JobDatabase
from pipelines.jobs.dbos.records import APPLICATION, WORKFLOW
from pipelines.jobs.dbos.upgrade import upgrade_jobs

_LOCK = sqlalchemy.text("SELECT pg_try_advisory_lock(:key)")
_UNLOCK = sqlalchemy.text("SELECT pg_advisory_unlock(:key)")
logger = logging.getLogger(__name__)


class Reaper:
    """Says that this runner is alive, and recovers the jobs of runners that are not."""

    def __init__(self, database: JobDatabase, executor_id: str, version: str, interval_s: float) -> None:
        self._database = database
        self._executor_id = executor_id
        self._version = version
        self._interval_s = interval_s
        self._session: sqlalchemy.Connection | None = None

    async def run(self) -> None:
        """Look around every ``interval_s``, until cancelled. A database that is away for a while is waited for."""
        while True:
            try:
                await asyncio.to_thread(self.sweep)
            except SQLAlchemyError:
                logger.warning("the job database does not answer; dead runners are looked for later")
                self.close()
            await asyncio.sleep(self._interval_s)

    def show_life(self) -> None:
        """Hold this runner's lock, again if the session was lost. Blocking."""
        if self._session is not None:
            self._session.execute(sqlalchemy.text("SELECT 1"))
            self._session.commit()
            return
        session = self._database.engine.connect()
        # Its own connection, never back into the pool: the lock must end with it.
        session.detach()
        session.execute(_LOCK, {"key": _key(self._executor_id)})
        session.commit()
        self._session = session

    def sweep(self) -> list[str]:
        """Recover the jobs of dead runners; return their executor ids. Blocking."""
        self.show_life()
        return [executor_id for executor_id in self._others() if self._bury(executor_id)]

    def close(self) -> None:
        """Let go of the lock. Blocking."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _others(self) -> set[str]:
        under_way = self._database.client.list_workflows(
            name=WORKFLOW, status=["PENDING"], load_input=False, load_output=False
        )
        return {str(status.executor_id) for status in under_way} - {self._executor_id}

    def _bury(self, executor_id: str) -> bool:
        with self._database.engine.connect() as connection:
            if not connection.execute(_LOCK, {"key": _key(executor_id)}).scalar():
                return False
            try:
                upgrade_jobs(self._database.client, self._version, executor_id)
                DBOS._recover_pending_workflows([executor_id])
            finally:
                connection.execute(_UNLOCK, {"key": _key(executor_id)})
        logger.warning("runner %s is gone: its jobs go on elsewhere", executor_id)
        return True


def _key(executor_id: str) -> int:
    digest = hashlib.sha256(f"{APPLICATION}\n{executor_id}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
