import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from pipelines.batching import BatchStatistics, DynamicBatcher
from pipelines.domain.model import Urgency
from pipelines.errors import ModelOutOfMemory, ModelUnavailable, Overloaded


class Model:
    """Doubles numbers; can be held while it works, so that a test decides what waits."""

    def __init__(self, memory: int = 100) -> None:
        self.batches: list[list[int]] = []
        self.memory = memory
        self.failure: Exception | None = None
        self._go = threading.Event()
        self._go.set()
        self._started = threading.Semaphore(0)

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self._started.release()
        assert self._go.wait(timeout=30)
        if len(items) > self.memory:
            raise ModelOutOfMemory("out of memory")
        if self.failure is not None:
            raise self.failure
        return [item * 2 for item in items]

    def hold(self) -> None:
        self._go.clear()

    def release(self) -> None:
        self._go.set()

    async def started(self) -> None:
        assert await asyncio.to_thread(self._started.acquire, timeout=30)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def batching(
    model: Model,
    *,
    batch_size: int = 4,
    max_waiting: int = 100,
    clock: Clock | None = None,
    on_batch: Callable[[BatchStatistics], None] | None = None,
) -> AsyncIterator[DynamicBatcher[int, int]]:
    batcher: DynamicBatcher[int, int] = DynamicBatcher(
        model, batch_size=batch_size, max_waiting=max_waiting, clock=clock or Clock(), on_batch=on_batch
    )
    try:
        yield batcher
    finally:
        model.release()
        await batcher.close()


def ask(
    batcher: DynamicBatcher[int, int], item: int, *, key: str = "k", urgency: Urgency = Urgency.BULK
) -> "asyncio.Task[int]":
    return asyncio.create_task(batcher.submit(item, key=key, urgency=urgency))


async def busy(model: Model, batcher: DynamicBatcher[int, int]) -> "asyncio.Task[int]":
    """Keep the model busy with item 0 until it is released."""
    model.hold()
    first = ask(batcher, 0)
    await model.started()
    return first


async def test_a_lone_caller_does_not_wait() -> None:
    model = Model()
    async with batching(model) as batcher:
        assert await batcher.submit(3, key="k", urgency=Urgency.BULK) == 6
    assert model.batches == [[3]]


async def test_callers_of_one_moment_share_the_first_batch() -> None:
    model = Model()
    async with batching(model) as batcher:
        assert await asyncio.gather(*(ask(batcher, item) for item in range(4))) == [0, 2, 4, 6]
    assert model.batches == [[0, 1, 2, 3]]


async def test_what_comes_while_the_model_is_busy_forms_the_next_batches() -> None:
    model = Model()
    async with batching(model, batch_size=3) as batcher:
        first = await busy(model, batcher)
        others = [ask(batcher, item) for item in range(1, 6)]
        await asyncio.sleep(0)
        model.release()
        assert await asyncio.gather(first, *others) == [0, 2, 4, 6, 8, 10]
    assert model.batches == [[0], [1, 2, 3], [4, 5]]


async def test_a_batch_holds_one_key() -> None:
    model = Model()
    async with batching(model) as batcher:
        first = await busy(model, batcher)
        others = [ask(batcher, item, key="odd" if item % 2 else "even") for item in range(1, 6)]
        await asyncio.sleep(0)
        model.release()
        await asyncio.gather(first, *others)
    assert model.batches == [[0], [1, 3, 5], [2, 4]]


async def test_the_urgent_goes_first_and_fills_its_batch_with_the_rest() -> None:
    model = Model()
    async with batching(model, batch_size=2) as batcher:
        first = await busy(model, batcher)
        others = [
            ask(batcher, 1),
            ask(batcher, 2),
            ask(batcher, 3, urgency=Urgency.LIVE_END),
            ask(batcher, 4, urgency=Urgency.WAITING),
        ]
        await asyncio.sleep(0)
        model.release()
        await asyncio.gather(first, *others)
    assert model.batches == [[0], [3, 4], [1, 2]]


async def test_waiting_makes_urgent_so_that_a_job_is_not_starved() -> None:
    model, clock = Model(), Clock()
    async with batching(model, batch_size=1, clock=clock) as batcher:
        first = await busy(model, batcher)
        job = ask(batcher, 1, urgency=Urgency.BULK)
        await asyncio.sleep(0)
        clock.now_s = 35.0
        live = ask(batcher, 2, urgency=Urgency.LIVE_END)
        await asyncio.sleep(0)
        model.release()
        await asyncio.gather(first, job, live)
    assert model.batches == [[0], [1], [2]]


async def test_cancelling_a_waiting_caller_takes_only_it_out() -> None:
    model = Model()
    async with batching(model) as batcher:
        first = await busy(model, batcher)
        given_up, other = ask(batcher, 1), ask(batcher, 2)
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        model.release()
        assert (await first, await other) == (0, 4)
    assert model.batches == [[0], [2]]


async def test_cancelling_a_caller_whose_batch_runs_leaves_the_batch_alone() -> None:
    model = Model()
    async with batching(model) as batcher:
        model.hold()
        given_up, other = ask(batcher, 1), ask(batcher, 2)
        await model.started()
        given_up.cancel()
        await asyncio.wait([given_up])
        model.release()
        assert await other == 4
    assert model.batches == [[1, 2]]


async def test_a_failure_reaches_every_caller_of_the_batch_and_the_next_batch_runs() -> None:
    model = Model()
    async with batching(model) as batcher:
        model.failure = ModelUnavailable("broken")
        failed = await asyncio.gather(*(ask(batcher, item) for item in range(3)), return_exceptions=True)
        assert [type(error) for error in failed] == [ModelUnavailable] * 3
        model.failure = None
        assert await batcher.submit(5, key="k", urgency=Urgency.BULK) == 10


async def test_a_model_that_answers_too_little_fails_its_callers() -> None:
    batcher: DynamicBatcher[int, int] = DynamicBatcher(lambda items: list(items)[1:], batch_size=4)
    with pytest.raises(ValueError, match="zip"):
        await batcher.submit(1, key="k", urgency=Urgency.BULK)
    await batcher.close()


async def test_a_batch_that_does_not_fit_is_halved_and_so_are_later_ones() -> None:
    model = Model(memory=2)
    async with batching(model, batch_size=8) as batcher:
        assert await asyncio.gather(*(ask(batcher, item) for item in range(8))) == [item * 2 for item in range(8)]
        assert batcher.batch_size == 2
        await asyncio.gather(*(ask(batcher, item) for item in range(4)))
    assert [len(batch) for batch in model.batches] == [8, 4, 2, 2, 4, 2, 2, 2, 2]


async def test_an_item_that_does_not_fit_alone_fails_alone() -> None:
    model = Model(memory=0)
    async with batching(model) as batcher:
        with pytest.raises(ModelOutOfMemory):
            await batcher.submit(1, key="k", urgency=Urgency.BULK)
        model.memory = 1
        assert await batcher.submit(1, key="k", urgency=Urgency.BULK) == 2


async def test_a_full_queue_refuses() -> None:
    model = Model()
    async with batching(model, max_waiting=2) as batcher:
        first = await busy(model, batcher)
        waiting = [ask(batcher, 1), ask(batcher, 2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await batcher.submit(3, key="k", urgency=Urgency.LIVE_END)
        assert refused.value.retry_after_s
        model.release()
        assert await asyncio.gather(first, *waiting) == [0, 2, 4]


async def test_statistics_tell_how_full_batches_are() -> None:
    model, clock, seen = Model(), Clock(), list[BatchStatistics]()
    async with batching(model, batch_size=2, clock=clock, on_batch=seen.append) as batcher:
        first = await busy(model, batcher)
        others = [ask(batcher, item) for item in range(1, 4)]
        await asyncio.sleep(0)
        clock.now_s = 3.0
        model.release()
        await asyncio.gather(first, *others)
    assert [(batch.items, batch.waiting, batch.longest_wait_s) for batch in seen] == [
        (1, 3, 0.0),
        (2, 1, 3.0),
        (1, 0, 3.0),
    ]
    assert seen[0].run_s == 3.0


async def test_closing_ends_the_batch_under_way_and_refuses_the_rest() -> None:
    model = Model()
    async with batching(model) as batcher:
        first = await busy(model, batcher)
        waiting = ask(batcher, 1)
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        with pytest.raises(ModelUnavailable):
            await waiting
        model.release()
        assert await first == 0
        await closing
        with pytest.raises(ModelUnavailable):
            await batcher.submit(2, key="k", urgency=Urgency.BULK)


async def test_a_halved_batch_grows_back_when_memory_is_there_again() -> None:
    model = Model(memory=2)
    async with batching(model, batch_size=4) as batcher:
        await batcher.submit_all(range(4), urgency=Urgency.LIVE_END)
        assert batcher.batch_size == 2
        model.memory = 100
        for _ in range(64):
            await batcher.submit_all(range(2), urgency=Urgency.LIVE_END)
        assert batcher.batch_size == 4
        assert await batcher.submit_all(range(4), urgency=Urgency.LIVE_END) == [0, 2, 4, 6]
        assert model.batches[-1] == [0, 1, 2, 3]


async def test_what_does_not_fit_when_it_has_grown_is_tried_less_often() -> None:
    model = Model(memory=2)
    async with batching(model, batch_size=4) as batcher:
        await batcher.submit_all(range(4), urgency=Urgency.LIVE_END)
        for _ in range(64):
            await batcher.submit_all(range(2), urgency=Urgency.LIVE_END)
        assert batcher.batch_size == 4
        await batcher.submit_all(range(4), urgency=Urgency.LIVE_END)
        assert batcher.batch_size == 2
        for _ in range(253):
            await batcher.submit_all(range(2), urgency=Urgency.LIVE_END)
        assert batcher.batch_size == 2


async def test_of_several_items_the_first_error_is_raised_and_the_rest_taken_back() -> None:
    model = Model()
    model.failure = ValueError("no")
    async with batching(model, batch_size=1) as batcher:
        model.hold()
        call = asyncio.create_task(batcher.submit_all(range(3), urgency=Urgency.LIVE_END))
        await model.started()
        model.release()
        with pytest.raises(ValueError, match="no"):
            await call
        model.failure = None
        assert await batcher.submit_all([7], urgency=Urgency.LIVE_END) == [14]


async def test_cancelling_several_items_takes_back_those_that_wait() -> None:
    model = Model()
    async with batching(model, batch_size=1) as batcher:
        model.hold()
        call = asyncio.create_task(batcher.submit_all(range(3), urgency=Urgency.LIVE_END))
        await model.started()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        model.release()
        assert await batcher.submit_all([7], urgency=Urgency.LIVE_END) == [14]
    assert model.batches == [[0], [7]]


class TimedModel:
    """Takes a second of a test's clock for each item."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.clock.now_s += len(items)
        return list(items)


async def test_bulk_work_keeps_its_share_of_the_time_under_a_stream_of_live_items() -> None:
    clock = Clock()
    model = TimedModel(clock)
    batcher: DynamicBatcher[int, int] = DynamicBatcher(model, batch_size=1, ageing_s=1e9, clock=clock)
    bulk = [asyncio.create_task(batcher.submit(-number, key="k", urgency=Urgency.BULK)) for number in range(1, 21)]
    live = [asyncio.create_task(batcher.submit(number, key="k", urgency=Urgency.LIVE)) for number in range(1, 41)]
    await asyncio.gather(*live)
    had = sum(batch[0] < 0 for batch in model.batches) / len(model.batches)
    for task in bulk:
        task.cancel()
    await asyncio.gather(*bulk, return_exceptions=True)
    await batcher.close()
    assert 0.2 <= had <= 0.3
    assert [batch[0] for batch in model.batches if batch[0] > 0] == sorted(range(1, 41))


async def test_while_somebody_speaks_bulk_comes_in_short_batches() -> None:
    clock = Clock()
    model = TimedModel(clock)
    batcher: DynamicBatcher[int, int] = DynamicBatcher(model, batch_size=4, clock=clock)
    await asyncio.gather(*(batcher.submit(number, key="k", urgency=Urgency.BULK) for number in range(8)))
    await batcher.submit(100, key="live", urgency=Urgency.LIVE_END)
    await asyncio.gather(*(batcher.submit(number, key="k", urgency=Urgency.BULK) for number in range(8, 11)))
    clock.now_s += 10.0
    await asyncio.gather(*(batcher.submit(number, key="k", urgency=Urgency.BULK) for number in range(11, 15)))
    await batcher.close()
    assert [len(batch) for batch in model.batches] == [4, 4, 1, 1, 1, 1, 4]
