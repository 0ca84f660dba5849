"""Who waits for a job's next event is told by one watch of the process, however many wait.

The writer is another process. On SQLite the watch looks every 50 ms whether anybody has written at all, which is one
number in shared memory (``PRAGMA data_version``), and asks only then, or after half a second, whose jobs have moved: a
single query for all of them. A server is asked that query every 50 ms. The watch only saves questions: whoever hears
nothing for five seconds, or when the watch ends, looks for himself.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from pipelines.errors import JobStoreUnavailable
from pipelines.jobs.dbos.database import DatabaseThreads, JobDatabase
from pipelines.jobs.dbos.records import EVENTS

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 0.05
LONGEST_WAIT_S = 5.0
_SLOW_POLL_S = 0.5
_TIMEOUT_S = 5.0

Mark = tuple[str | None, int | None]
"""A job's state and the offset of its last event."""


class JobChanges:
    """Wakes the readers of the jobs whose event stream or state has changed."""

    def __init__(self, database: JobDatabase) -> None:
        self._database = database
        self._threads = DatabaseThreads(1)
        self._session: sqlalchemy.Connection | None = None
        self._version: int | None = None
        self._readers: dict[str, set[asyncio.Event]] = {}
        self._marks: dict[str, Mark] = {}
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    @asynccontextmanager
    async def reader(self, job_id: str) -> AsyncGenerator[Callable[[], Awaitable[None]], None]:
        """Give what waits until the job may have changed since the last wait, at most five seconds.

        The wait raises JobStoreUnavailable after ``close``.
        """
        changed = asyncio.Event()  # one for each: another reader of the job must not clear it
        self._readers.setdefault(job_id, set()).add(changed)
        try:
            yield partial(self._wait, changed)
        finally:
            self._readers[job_id].discard(changed)
            if not self._readers[job_id]:
                del self._readers[job_id]
                self._marks.pop(job_id, None)

    async def close(self) -> None:
        """Stop watching, once the look under way is done; a no-op the second time."""
        if self._closed:
            return
        self._closed = True
        if self._watch is not None:
            await asyncio.gather(self._watch, return_exceptions=True)
        with suppress(JobStoreUnavailable):  # in the thread that used it: where that hangs, so would this
            await self._threads.call(_TIMEOUT_S, self._close_session)
        self._threads.close()

    async def _wait(self, changed: asyncio.Event) -> None:
        if not self._closed and (self._watch is None or self._watch.done()):
            self._watch = asyncio.create_task(self._keep_watch())
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if self._closed else LONGEST_WAIT_S):
                await changed.wait()
        if self._closed:
            raise JobStoreUnavailable("the job database was closed")
        changed.clear()

    async def _keep_watch(self) -> None:
        looked_s = 0.0
        try:
            while self._readers and not self._closed:
                try:
                    written = await self._threads.call(_TIMEOUT_S, self._is_written)
                    if written or time.monotonic() - looked_s > _SLOW_POLL_S:
                        self._tell(await self._threads.call(_TIMEOUT_S, self._read_marks, tuple(self._readers)))
                        looked_s = time.monotonic()
                except Exception as error:
                    if not isinstance(error, JobStoreUnavailable):
                        logger.exception("the job database cannot be watched")
                    looked_s = 0.0
                    self._wake_all()  # they find out for themselves, and say so
                    await asyncio.sleep(_SLOW_POLL_S)
                await asyncio.sleep(LOOK_INTERVAL_S)
        finally:
            self._wake_all()

    def _wake_all(self) -> None:
        for waiting in self._readers.values():
            for changed in waiting:
                changed.set()

    def _tell(self, marks: dict[str, Mark]) -> None:
        for job_id, waiting in self._readers.items():
            mark = marks.get(job_id, (None, None))
            if self._marks.get(job_id) != mark:
                self._marks[job_id] = mark
                for changed in waiting:
                    changed.set()

    def _is_written(self) -> bool:
        """Say whether anybody may have written since the last time. Blocking."""
        if not self._database.embedded:
            return True
        before = self._version
        try:
            self._session = self._session or self._database.engine.connect()
            self._version = self._session.exec_driver_sql("PRAGMA data_version").scalar_one()
        except SQLAlchemyError:
            self._close_session()
            raise
        return self._version != before

    def _close_session(self) -> None:
        session, self._session, self._version = self._session, None, None
        if session is not None:
            session.close()

    def _read_marks(self, job_ids: Sequence[str]) -> dict[str, Mark]:
        schema = None if self._database.embedded else "dbos"
        jobs = _table("workflow_status", "workflow_uuid", "status", schema=schema)
        streams = _table("streams", "workflow_uuid", "key", "offset", schema=schema)
        last = (
            sqlalchemy.select(sqlalchemy.func.max(streams.c.offset))
            .where(streams.c.workflow_uuid == jobs.c.workflow_uuid, streams.c.key == EVENTS)
            .scalar_subquery()
        )
        query = sqlalchemy.select(jobs.c.workflow_uuid, jobs.c.status, last).where(jobs.c.workflow_uuid.in_(job_ids))
        with self._database.engine.connect() as connection:
            return {job_id: (status, offset) for job_id, status, offset in connection.execute(query)}


def _table(name: str, *columns: str, schema: str | None) -> sqlalchemy.TableClause:
    return sqlalchemy.table(name, *map(sqlalchemy.column, columns), schema=schema)
