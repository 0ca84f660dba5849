"""How a job waits: for its turn at a model, and for whatever is busy or away. A job never fails for either.

Time waited is not the job's own work: it is shown (``waiting_s``) and stops the clock of the job's time limit. One wait
is enough to stop it, whatever else of the job goes on: of two windows at one model, one works because the other waits.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from pipelines.errors import DeadlineExceeded, DependencyError, Overloaded, RayScribeError
from pipelines.jobs.ports import ProcessingOptions

ResultT = TypeVar("ResultT")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


class JobClock:
    """The time of one run of a job: its own work and its waiting, told apart."""

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._earlier_s = 0.0
        self._waited_s = 0.0
        self._waits = 0
        self._waiting_since_s = 0.0
        self._counted_until_s = self._now()
        self._limit: asyncio.Timeout | None = None
        self._began_s = self._limit_s = 0.0

    @property
    def waiting_s(self) -> float:
        """Seconds in which the job waited, those of its earlier runs included; overlapping waits count once."""
        return self._earlier_s + self._waited_here_s

    def restore(self, waiting_s: float) -> None:
        """Take over what an earlier run of the same job had waited."""
        self._earlier_s = max(self._earlier_s, waiting_s - self._waited_here_s)

    @asynccontextmanager
    async def limit(self, work_s: float) -> AsyncIterator[None]:
        """Raise TimeoutError in the block once the job has worked for so long in it; one block at a time."""
        self._began_s = self._now() - self._waited_s
        self._limit_s = self._began_s + work_s
        async with asyncio.timeout(None) as self._limit:
            self._set_limit()
            try:
                yield
            finally:
                self._limit = None

    def set_limit(self, work_s: float) -> None:
        """Change how long the job may work in the block that is limited, counted from its beginning."""
        self._limit_s = self._began_s + work_s
        self._set_limit()

    @contextmanager
    def waiting(self, since_s: float | None = None) -> Iterator[None]:
        """Count the block as waiting, from ``since_s`` (of the event loop's clock) on where that was before it."""
        since_s = max(self._now() if since_s is None else since_s, self._counted_until_s)
        self._waiting_since_s = min(self._waiting_since_s, since_s) if self._waits else since_s
        self._waits += 1
        self._set_limit()
        try:
            yield
        finally:
            self._waits -= 1
            if not self._waits:
                self._counted_until_s = self._now()
                self._waited_s += self._counted_until_s - self._waiting_since_s
                self._set_limit()

    async def wait_out(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Call until it is answered: whatever is busy or away is waited for without end, cancelling ends that.

        An attempt that was refused counts as waiting as well. One that exceeded its deadline was work: a call that
        hangs each time ends by the job's own limit. Raises at once what no retry can help, and what a model answered.
        """
        for attempt in count():
            began_s = self._now()
            try:
                return await call()
            except RayScribeError as error:
                if not _passes(error):
                    raise
                pause_s = _pause_s(error, attempt)
                since_s = None if isinstance(error, DeadlineExceeded) else began_s
            with self.waiting(since_s):
                await asyncio.sleep(pause_s)
        raise AssertionError("counting has no end")

    @property
    def _waited_here_s(self) -> float:
        return self._waited_s + (self._now() - self._waiting_since_s if self._waits else 0.0)

    def _set_limit(self) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(None if self._waits else self._limit_s + self._waited_s)


def _passes(error: RayScribeError) -> bool:
    """An unusable answer of a model is retryable too, but that is for the stage to do, which asks differently."""
    return error.retryable and isinstance(error, Overloaded | DependencyError)


def _pause_s(error: RayScribeError, attempt: int) -> float:
    """As long as the error says, or ever longer; spread, so that calls refused together do not come back together."""
    if error.retry_after_s is not None:
        return error.retry_after_s * random.uniform(1.0, 1.25)
    return float(min(_FIRST_PAUSE_S * 2 ** min(attempt, 10), _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0))


class FairSlots:
    """Lets so many calls of all jobs be at a model at once; None: any number.

    A free slot goes to the job that holds the fewest, so that a long job does not stand before a short one.
    """

    def __init__(self, size: int | None) -> None:
        """Take how many calls the model's replicas hold together."""
        self._size = size
        self._held: Counter[str] = Counter()
        self._queue: list[tuple[str, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def hold(self, job_id: str, clock: JobClock) -> AsyncIterator[None]:
        """Hold a slot for the block; waiting for one is the job's waiting."""
        if self._size is not None and self._held.total() >= self._size:
            with clock.waiting():
                await self._wait(job_id)
        else:
            self._held[job_id] += 1
        try:
            yield
        finally:
            self._release(job_id)

    async def _wait(self, job_id: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((job_id, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._queue.remove((job_id, turn))
            else:  # it was given a slot in the same moment
                self._release(job_id)
            raise

    def _release(self, job_id: str) -> None:
        self._held[job_id] -= 1
        if not self._held[job_id]:
            del self._held[job_id]
        if waiting := [entry for entry in self._queue if not entry[1].done()]:
            chosen = min(waiting, key=lambda entry: self._held[entry[0]])  # of equals the one that came first
            self._queue.remove(chosen)
            self._held[chosen[0]] += 1
            chosen[1].set_result(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSlots:
    """What all jobs of one runner share."""

    windows: FairSlots
    """At the transcriber."""
    recordings: FairSlots
    """At the diarizer."""

    @classmethod
    def of(cls, options: ProcessingOptions) -> "ModelSlots":
        """Make what these options allow."""
        return cls(windows=FairSlots(options.windows_at_once), recordings=FairSlots(options.diarizations_at_once))
