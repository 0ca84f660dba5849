"""The process that runs jobs: DBOS, its queue, and one workflow around the flows of all kinds of jobs."""

import asyncio
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace

from dbos import DBOS, DBOSConfig
from dbos import error as dbos_error
from filelock import FileLock, Timeout

from pipelines.domain.encoding import from_plain
from pipelines.domain.job import JobResult, JobStatus, NewJob
from pipelines.errors import ArtifactStoreUnavailable
from pipelines.jobs.artifacts import load_result
from pipelines.jobs.clock import JobClock
from pipelines.jobs.dbos.database import JobDatabase, is_sqlite, open_engine, sqlite_path
from pipelines.jobs.dbos.queue import DbosJobQueue
from pipelines.jobs.dbos.reaper import Reaper
from pipelines.jobs.dbos.records import APPLICATION, QUEUE, WORKFLOW, JsonSerializer, now
from pipelines.jobs.dbos.retention import HOURLY, Retention
from pipelines.jobs.dbos.steps import DbosStepRunner
from pipelines.jobs.dbos.upgrade import upgrade_jobs
from pipelines.jobs.erasures import Eraser, ErasureJournal
from pipelines.jobs.failure import JobFailed, place_of
from pipelines.jobs.ports import ProcessingOptions, RecordingPorts
from pipelines.jobs.run import RequestPorts, job_flows, run_job
from pipelines.jobs.stages import WORKFLOW_VERSION, kept_voices
from pipelines.jobs.submit import QueueLimits
from pipelines.outbound.webhooks import EndedJob, Outbox
from pipelines.ports.jobs import JobObserver, NoObserver

_HEIR = "runner"
_LOCK_POLL_S = 0.1
_BUSY_TIMEOUT_S = 30.0
_THREADS = 16
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """How jobs are run."""

    concurrency: int = 2
    """Jobs at once in this runner."""
    concurrency_per_tenant: int = 2
    """Jobs at once of one tenant in this runner."""
    polling_interval_s: float = 0.1
    """How often the queue is looked at."""
    executor_id: str | None = None
    """None: on SQLite always the same, so that a successor takes over what this runner leaves; else a unique one."""
    reaping_interval_s: float = 10.0
    """On PostgreSQL: how often the jobs of dead runners are looked for."""
    version: str = WORKFLOW_VERSION
    """Unfinished jobs of another version start over."""
    max_recoveries: int = 50
    """A job that was under way so often when its runner died fails instead of being tried again."""
    keep_results_s: float | None = None
    """Jobs that ended longer ago are erased, with all that belongs to them; None: kept. Leftovers are always swept."""
    processing: ProcessingOptions = field(default_factory=ProcessingOptions)
    observer: JobObserver = field(default_factory=NoObserver)
    """Counts and logs what happens to jobs here."""
    outbox: Outbox | None = None
    """Who is told of the end of jobs; None: nobody."""


class DbosJobRunner:
    """Takes jobs from the queue and runs them, until ``close``. One a process: DBOS is a singleton."""

    def __init__(
        self,
        database: JobDatabase,
        ports: RecordingPorts,
        requests: RequestPorts,
        options: RunnerOptions,
        lock: FileLock | None,
        journal: ErasureJournal | None,
    ) -> None:
        self._database = database
        self._ports = ports
        self._flows = job_flows(ports, _with_sight_of_jobs(requests, database), options.processing)
        self._options = options
        self._lock = lock
        self._engine = open_engine(database.url, _BUSY_TIMEOUT_S) if lock else None
        """DBOS's connections to SQLite: its own would leave behind what they overwrite."""
        self._executor_id = options.executor_id or (_HEIR if lock else f"{_HEIR}-{uuid.uuid4().hex}")
        self._reaper = None
        if lock is None:
            self._reaper = Reaper(database, self._executor_id, options.version, options.reaping_interval_s)
        self._reaping: asyncio.Task[None] | None = None
        self._eraser = Eraser(
            queue=DbosJobQueue(database, QueueLimits()),
            artifacts=ports.artifacts,
            passages=ports.passages,
            journal=journal,
        )
        self._replaying: asyncio.Task[int] | None = None
        self._running: set[asyncio.Task[object]] = set()
        self._closing = False

    @classmethod
    async def launch(
        cls,
        database_url: str,
        ports: RecordingPorts,
        options: RunnerOptions | None = None,
        *,
        requests: RequestPorts | None = None,
        journal: ErasureJournal | None = None,
    ) -> "DbosJobRunner":
        """Start running jobs in the current event loop, unfinished ones of a dead predecessor first.

        On SQLite this waits, without end, until no other runner holds the database: a draining replica and its
        successor overlap. Cancelling it while it waits leaves nothing behind. On PostgreSQL runners work side by side.
        ``requests``: what jobs without a recording need; where it is missing, such jobs fail with NotAvailable.
        ``journal``: of what was erased, which is erased again where a backup has brought it back.
        """
        lock = await _take_lock(database_url) if is_sqlite(database_url) else None
        try:
            database = await asyncio.to_thread(JobDatabase.open, database_url, _BUSY_TIMEOUT_S)
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        runner = cls(database, ports, requests or RequestPorts(), options or RunnerOptions(), lock, journal)
        try:
            await runner._start()
        except BaseException:
            await runner.close()
            raise
        return runner

    async def close(self) -> None:
        """Stop. Jobs under way stay as they are, for the next runner."""
        self._closing = True
        under_way = [*self._running, *(task for task in (self._reaping, self._replaying) if task is not None)]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        # DBOS lends the loop its own thread pool and shuts that down here: use another, and leave the loop a new one.
        with ThreadPoolExecutor(1) as pool:
            await asyncio.get_running_loop().run_in_executor(pool, _destroy)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        if self._reaper is not None:
            await asyncio.to_thread(self._reaper.close)
        await asyncio.to_thread(self._database.close)
        if self._engine is not None:
            await asyncio.to_thread(self._engine.dispose)
        if self._lock is not None:
            self._lock.release()

    async def _start(self) -> None:
        await asyncio.to_thread(self._prepare_database)

        async def run_job(enqueued: dict[str, object]) -> dict[str, object]:
            return await self._run(enqueued)

        logging.getLogger("dbos").addFilter(_without_words)
        DBOS(config=self._config())
        DBOS.workflow(name=WORKFLOW, max_recovery_attempts=self._options.max_recoveries)(run_job)
        await asyncio.to_thread(self._schedule_erasure)
        DBOS.launch()  # in this loop's thread, so that workflows run in this loop, where the ports live
        await asyncio.to_thread(self._database.client.set_latest_application_version, self._options.version)
        if self._reaper is not None:
            self._reaping = asyncio.create_task(self._reaper.run())
        self._replaying = asyncio.create_task(self._eraser.replay())

    def _prepare_database(self) -> None:
        if self._reaper is not None:
            self._reaper.show_life()
        elif moved := upgrade_jobs(self._database.client, self._options.version):
            logger.info("%d jobs of another workflow version start over", moved)
        self._register_queue()

    def _register_queue(self) -> None:
        # Before the launch: a queue that is registered later is noticed only within a second.
        self._database.client.register_queue(
            QUEUE,
            worker_concurrency=self._options.concurrency,
            partition_worker_concurrency=min(self._options.concurrency, self._options.concurrency_per_tenant),
            polling_interval_sec=self._options.polling_interval_s,
            on_conflict="always_update",
        )

    def _schedule_erasure(self) -> None:
        Retention(
            database=self._database,
            artifacts=self._ports.artifacts,
            eraser=self._eraser,
            keep_s=self._options.keep_results_s,
            observer=self._options.observer,
        ).schedule(HOURLY)

    def _config(self) -> DBOSConfig:
        return DBOSConfig(
            name=APPLICATION,
            system_database_url=self._database.url,
            system_database_engine=self._engine,
            executor_id=self._executor_id,
            application_version=self._options.version,
            serializer=JsonSerializer(),
            max_executor_threads=_THREADS,
            log_level="WARNING",
            enable_otlp=False,
        )

    async def _run(self, enqueued: dict[str, object]) -> dict[str, object]:
        """Run one job: the workflow. A close in the middle leaves it to the next runner."""
        if self._closing:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        job = from_plain(NewJob, enqueued)
        steps = DbosStepRunner(self._database.client, job.job_id)
        try:
            with self._options.observer.running(job):
                await steps.note(runner=self._executor_id, started_at=await self._started_at(job.job_id))
                return {"result": await self._process(job, steps)}
        finally:
            self._running.discard(task)
            await steps.note(runner=None, finished_at=now())

    async def _process(self, job: NewJob, steps: DbosStepRunner) -> str:
        observer = self._options.observer
        try:
            key = await run_job(self._flows, job, steps)
            result = await load_result(self._ports.artifacts, job.tenant, job.job_id)
            await self._notify(job, steps, JobStatus.SUCCEEDED, result)
            observer.ended(JobStatus.SUCCEEDED, result)
        except JobFailed as failed:
            await self._forget_voices(job)
            await self._notify(job, steps, JobStatus.FAILED, None, failed.failure.code)
            observer.ended(JobStatus.FAILED, None)
            raise
        except (asyncio.CancelledError, dbos_error.DBOSBaseException):
            # Cancelled, or this runner closes, or another one has taken the job: only the first is an end.
            if not self._closing and await self._is_cancelled(job.job_id):
                await self._forget_voices(job)
                observer.ended(JobStatus.CANCELLED, None)
            raise
        return key

    async def _is_cancelled(self, job_id: str) -> bool:
        client = self._database.client
        found = await asyncio.to_thread(client.list_workflows, workflow_ids=[job_id], load_output=False)
        return bool(found) and found[0].status == "CANCELLED"

    async def _forget_voices(self, job: NewJob) -> None:
        """Leave no voice behind of a job that ended before it was known who speaks."""
        with suppress(ArtifactStoreUnavailable):
            await kept_voices(self._ports.artifacts, job).forget()

    async def _notify(
        self, job: NewJob, steps: DbosStepRunner, status: JobStatus, result: JobResult | None, code: str | None = None
    ) -> None:
        """Write down who is to hear of the end, as a step: a death before it repeats it, one after it does not."""
        outbox = self._options.outbox
        if outbox is None:
            return

        async def write() -> dict[str, object]:
            found = await asyncio.to_thread(
                self._database.client.list_workflows, workflow_ids=[job.job_id], load_output=False
            )
            ended = EndedJob(
                tenant=job.tenant,
                job_id=job.job_id,
                request=job.request,
                status=status,
                error_code=code,
                run=int((found[0].attributes or {}).get("earlier_attempts") or 0),
            )
            await JobClock().wait_out(lambda: outbox.job_ended(ended, result))
            return {}

        await steps.step("notify", write)

    async def _started_at(self, job_id: str) -> str:
        client = self._database.client
        found = await asyncio.to_thread(client.list_workflows, workflow_ids=[job_id], load_output=False)
        return str((found[0].attributes or {}).get("started_at") or now())


def _with_sight_of_jobs(requests: RequestPorts, database: JobDatabase) -> RequestPorts:
    """Let a reindexing see the others, and whether it was cancelled itself or only its runner stops."""
    if requests.reindexing is None:
        return requests
    return replace(requests, reindexing=replace(requests.reindexing, jobs=DbosJobQueue(database, QueueLimits())))


async def _take_lock(database_url: str) -> FileLock:
    """Hold the embedded database's lock; it ends with this process, however that dies."""
    lock = FileLock(f"{sqlite_path(database_url)}.runner.lock")
    while True:
        try:
            lock.acquire(timeout=0)
            return lock
        except Timeout:
            await asyncio.sleep(_LOCK_POLL_S)


def _destroy() -> None:
    DBOS.destroy(destroy_registry=True)
    logging.getLogger("dbos").removeFilter(_without_words)


def _without_words(record: logging.LogRecord) -> bool:
    """Let DBOS log where an error happened, not what it says; a failed job is no news, its observer has heard."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        record.msg, record.args = f"{record.getMessage()} {place_of(error)}", ()
        record.exc_info = record.exc_text = None
    return not isinstance(error, JobFailed)
