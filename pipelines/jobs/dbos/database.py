"""The job database: opened, migrated, and its errors translated."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

import sqlalchemy
from dbos import DBOS, DBOSClient
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from pipelines.errors import JobStoreUnavailable
from pipelines.jobs.dbos.records import APPLICATION, JsonSerializer

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
_POOL_SIZE = 8
_READERS_LEAVE_MS = 500


def is_sqlite(database_url: str) -> bool:
    """Tell whether this is the embedded database: one runner, one machine."""
    return database_url.startswith("sqlite")


def sqlite_path(database_url: str) -> str:
    """Return the path of the embedded database's file."""
    return str(sqlalchemy.make_url(database_url).database)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDatabase:
    """An open job database."""

    url: str
    client: DBOSClient
    engine: sqlalchemy.Engine
    """The client's own connections, for transactions whose waiting we bound ourselves."""

    @classmethod
    def open(cls, database_url: str, busy_timeout_s: float) -> "JobDatabase":
        """Create or migrate the database and connect to it. Blocking. A locked one is waited for."""
        DBOS.migrate(database_url)
        engine = open_engine(database_url, busy_timeout_s)
        client = DBOSClient(
            system_database_engine=engine,
            system_database_url=database_url,
            serializer=JsonSerializer(),
            application_name=APPLICATION,
            retry_connection_errors=False,
        )
        return cls(url=database_url, client=client, engine=engine)

    @property
    def embedded(self) -> bool:
        """True for SQLite: one runner, one machine."""
        return is_sqlite(self.url)

    def delete(self, job_id: str) -> None:
        """Remove a job's record and events, and on SQLite their bytes, which its log keeps. Blocking."""
        self.client.delete_workflow(job_id)
        self.forget()

    def forget(self) -> None:
        """Empty SQLite's log of what was deleted; where a reader is in the way, the next call does it. Blocking."""
        if not self.embedded:
            return
        with self.engine.connect() as connection:
            waits = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
            connection.exec_driver_sql(f"PRAGMA busy_timeout={_READERS_LEAVE_MS}")
            try:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.exec_driver_sql(f"PRAGMA busy_timeout={waits}")

    def close(self) -> None:
        """Release all connections. Blocking."""
        self.client.destroy()
        self.engine.dispose()


def open_engine(database_url: str, timeout_s: float) -> sqlalchemy.Engine:
    """Return connections that wait ``timeout_s`` for a lock, and on SQLite overwrite what they delete or replace."""
    if not is_sqlite(database_url):
        url = sqlalchemy.make_url(database_url).set(drivername="postgresql+psycopg")
        return sqlalchemy.create_engine(url, pool_size=_POOL_SIZE, pool_pre_ping=True, pool_timeout=timeout_s)
    engine = sqlalchemy.create_engine(database_url, pool_size=_POOL_SIZE, pool_timeout=timeout_s)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.execute(f"PRAGMA busy_timeout={round(timeout_s * 1000)}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA journal_mode=WAL")  # readers then never wait for the runner's writes

    return engine


class DatabaseThreads:
    """Threads of their own for blocking database calls: a stuck database must not hold up files and health as well."""

    def __init__(self, count: int = _POOL_SIZE) -> None:
        self._count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="job-database")
        self._stuck: set[Future[Any]] = set()
        """Calls that nobody waits for any more, and that have not come back."""

    async def call(self, timeout_s: float, call: Callable[P, ResultT], *args: P.args, **kwargs: P.kwargs) -> ResultT:
        """Run a blocking call. Raises JobStoreUnavailable after ``timeout_s``, on its errors, or when all are stuck."""
        self._stuck = {begun for begun in self._stuck if not begun.done()}
        if len(self._stuck) >= self._count:
            raise JobStoreUnavailable("the job database does not answer")
        begun = self._pool.submit(partial(call, *args, **kwargs))
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.wrap_future(begun)
        except TimeoutError as error:
            raise JobStoreUnavailable("the job database does not answer") from error
        except SQLAlchemyError as error:
            raise JobStoreUnavailable("the job database is not available") from error
        finally:
            if not begun.done():  # one that had not begun was cancelled, and is done
                self._stuck.add(begun)

    def close(self) -> None:
        """End all threads that are not stuck."""
        self._pool.shutdown(wait=False, cancel_futures=True)
