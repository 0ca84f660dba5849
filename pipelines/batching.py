"""Dynamic batching: windows, texts and pairs of all callers meet here, and one model call takes as many as fit.

An idle model never waits: the first item starts at once, and what comes while the model is busy forms the next batch.
So the batch grows with the load and a lone caller pays nothing. A batch holds items of one key. The most urgent item
chooses the batch. Bulk work keeps a share of the model's time, and waiting makes urgent, so that a stream of live
windows cannot starve a job; while somebody speaks, bulk comes in short batches, since no batch can be interrupted. A
model is only ever entered from one thread (Hugging Face's fast tokenizers fail with "Already borrowed" when two enter).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipelines.domain.model import Urgency
from pipelines.errors import ModelOutOfMemory, ModelUnavailable, Overloaded

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_GROWTH_AFTER, _MOST_GROWTH_AFTER = 64, 16_384
"""Full batches that must fit before a halved size is doubled again: memory may have been short only for a while. Where
the larger size does not fit again, four times as many must fit before the next try."""


_LIVE_FOR_S = 5.0
"""After a live item, more of them are expected for so long."""
_BULK_BATCH_S = 0.5
"""While live items are expected, a batch of bulk work takes about this long: what a live one may have to wait."""
_MOST_OWED_S = 5.0
"""Model time that bulk work did not get is made up for, but not without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """One call of the model, for metrics."""

    items: int
    batch_size: int
    """The most items a batch takes now: halved after each lack of memory, doubled again when it has passed."""
    waiting: int
    """Items left in the queue when the batch was taken."""
    longest_wait_s: float
    run_s: float
    out_of_memory: bool = False
    """The batch did not fit; it is tried again in halves."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[ItemT, ResultT]):
    item: ItemT
    key: Hashable
    urgency: Urgency
    since_s: float
    result: "asyncio.Future[ResultT]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class DynamicBatcher(Generic[ItemT, ResultT]):
    """Batches the items of concurrent callers on one event loop and runs them one batch at a time in a thread."""

    def __init__(
        self,
        run: Callable[[Sequence[ItemT]], Sequence[ResultT]],
        *,
        batch_size: int,
        max_waiting: int = 512,
        ageing_s: float = 10.0,
        bulk_share: float = 0.25,
        on_batch: Callable[[BatchStatistics], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the blocking ``run`` (items of one key to as many results, in order).

        Each ``ageing_s`` seconds of waiting make an item one step more urgent. ``bulk_share`` of the model's time goes
        to bulk work that waits, whatever else does. ``on_batch`` hears of every model call.
        """
        self.batch_size = batch_size
        self._full_size = batch_size
        self._fitting = 0
        """Full batches that fitted since the size was changed."""
        self._grown = False
        self._growth_after = _GROWTH_AFTER
        self._run = run
        self._max_waiting = max_waiting
        self._ageing_s = ageing_s
        self._bulk_share = bulk_share
        self._owed_s = 0.0
        """Model time that bulk work should have had by its share, and did not get."""
        self._live_until_s = -1.0
        self._bulk_item_s = 0.0
        """What a bulk item takes, as measured."""
        self._on_batch = on_batch
        self._clock = clock
        self._waiting: list[_Waiting[ItemT, ResultT]] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, item: ItemT, *, key: Hashable, urgency: Urgency) -> ResultT:
        """Return the model's result for ``item``.

        Cancelling takes the item out of the queue, or drops its result, and leaves its batch alone. Raises what ``run``
        raised for the batch, Overloaded (the queue is full), ModelUnavailable (closed), ModelOutOfMemory (the item
        does not even fit alone).
        """
        if self._closed:
            raise ModelUnavailable("the model is shutting down")
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded(f"{self._max_waiting} calls are waiting for the model", None, 1.0)
        waiting: _Waiting[ItemT, ResultT] = _Waiting(item, key, urgency, self._clock())
        self._waiting.append(waiting)
        if urgency <= Urgency.LIVE:
            self._live_until_s = waiting.since_s + _LIVE_FOR_S
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), context=Context())  # it serves more than this caller
        try:
            return await waiting.result
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    async def submit_all(self, items: Sequence[ItemT], *, key: Hashable = None, urgency: Urgency) -> list[ResultT]:
        """Return the results of several items in order; as ``submit``. The first error takes back the other items."""
        calls = [asyncio.ensure_future(self.submit(item, key=key, urgency=urgency)) for item in items]
        try:
            return list(await asyncio.gather(*calls))
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    async def close(self) -> None:
        """Let the batch under way end, refuse what waits (ModelUnavailable), and stop the thread."""
        self._closed = True
        for waiting in self._waiting:
            _fail(waiting, ModelUnavailable("the model is shutting down"))
        self._waiting.clear()
        if self._worker is not None:
            await self._worker
        await asyncio.to_thread(self._thread.shutdown)

    async def _work(self) -> None:
        """Run batches until nothing waits; ``submit`` starts the next worker."""
        while self._waiting:
            batch = self._take_batch()
            await self._run_fitting(batch)

    def _take_batch(self) -> list[_Waiting[ItemT, ResultT]]:
        now_s = self._clock()
        in_order = sorted(
            self._waiting, key=lambda waiting: waiting.urgency - (now_s - waiting.since_s) / self._ageing_s
        )
        first = in_order[0]
        if self._owed_s > 0:
            first = next((waiting for waiting in in_order if waiting.urgency is Urgency.BULK), first)
            in_order.sort(key=lambda waiting: waiting is not first)
        size = self.batch_size
        if first.urgency is Urgency.BULK and now_s < self._live_until_s:
            while size > 1 and size * self._bulk_item_s > _BULK_BATCH_S:
                size -= 1
        batch = [waiting for waiting in in_order if waiting.key == first.key][:size]
        taken = set(map(id, batch))
        self._waiting = [waiting for waiting in self._waiting if id(waiting) not in taken]
        return batch

    async def _run_fitting(self, batch: list[_Waiting[ItemT, ResultT]]) -> None:
        """Run a batch; where memory is short, halve it, and all batches after it, until it fits."""
        parts = deque([batch])
        while parts:
            part = [waiting for waiting in parts.popleft() if not waiting.result.done()]
            if not part:
                continue
            try:
                results = list(zip(part, await self._run_measured(part), strict=True))
            except ModelOutOfMemory as error:
                if len(part) == 1:
                    _fail(part[0], error)
                    continue
                half = (len(part) + 1) // 2
                self._shrink(half)
                parts.extendleft([part[half:], part[:half]])
            except Exception as error:  # whatever the model raised belongs to each caller of the batch
                for waiting in part:
                    _fail(waiting, error)
            else:
                self._grow(len(part))
                for waiting, result in results:
                    if not waiting.result.done():
                        waiting.result.set_result(result)

    def _shrink(self, size: int) -> None:
        if self._grown and self._fitting == 0:  # the larger size did not fit even once
            self._growth_after = min(4 * self._growth_after, _MOST_GROWTH_AFTER)
        self.batch_size = min(self.batch_size, size)
        self._fitting, self._grown = 0, False

    def _grow(self, fitted: int) -> None:
        if fitted < self.batch_size:
            return
        self._fitting += 1
        if self.batch_size < self._full_size and self._fitting >= self._growth_after:
            self.batch_size = min(2 * self.batch_size, self._full_size)
            self._fitting, self._grown = 0, True

    async def _run_measured(self, part: list[_Waiting[ItemT, ResultT]]) -> Sequence[ResultT]:
        started_s = self._clock()
        loop = asyncio.get_running_loop()
        out_of_memory = False
        try:
            return await loop.run_in_executor(self._thread, self._run, [waiting.item for waiting in part])
        except ModelOutOfMemory:
            out_of_memory = True
            raise
        finally:
            self._account(part, self._clock() - started_s)
            if self._on_batch is not None:
                self._on_batch(
                    BatchStatistics(
                        items=len(part),
                        batch_size=self.batch_size,
                        waiting=len(self._waiting),
                        longest_wait_s=started_s - min(waiting.since_s for waiting in part),
                        run_s=self._clock() - started_s,
                        out_of_memory=out_of_memory,
                    )
                )

    def _account(self, part: "Sequence[_Waiting[ItemT, ResultT]]", run_s: float) -> None:
        """Note how much of the model's time bulk work had, and should have had."""
        bulk = sum(waiting.urgency is Urgency.BULK for waiting in part) / len(part)
        if bulk == 1:
            weight = 0.3 if self._bulk_item_s else 1.0
            self._bulk_item_s += weight * (run_s / len(part) - self._bulk_item_s)
        if bulk < 1 and all(waiting.urgency is not Urgency.BULK for waiting in self._waiting):
            self._owed_s = 0.0  # none that waits, none that is owed anything
            return
        owed_s = self._owed_s + run_s * (self._bulk_share - bulk)
        self._owed_s = max(-_MOST_OWED_S, min(_MOST_OWED_S, owed_s))


def _fail(waiting: _Waiting[ItemT, ResultT], error: BaseException) -> None:
    if not waiting.result.done():
        waiting.result.set_exception(error)
