import asyncio
import threading
from collections.abc import Iterator

import pytest

from pipelines.errors import ModelOutOfMemory, ModelUnavailable
from pipelines.retrieval.engines.flag_models import GatheredCalls


class SlowModel:
    """Doubles numbers, one batch at a time, and waits for permission before each."""

    def __init__(self, *, fits: int = 100) -> None:
        self.batches: list[list[int]] = []
        self.fits = fits
        self.may_run = threading.Event()
        self.may_run.set()
        self._inside = threading.Lock()

    def run(self, items: list[int]) -> list[int]:
        assert self._inside.acquire(blocking=False), "two threads entered the model"
        try:
            self.may_run.wait()
            if len(items) > self.fits:
                raise ModelOutOfMemory("too many")
            if -1 in items:
                raise RuntimeError("a bad item")
            self.batches.append(items)
            return [2 * item for item in items]
        finally:
            self._inside.release()


@pytest.fixture
def model() -> Iterator[SlowModel]:
    made = SlowModel()
    yield made
    made.may_run.set()


@pytest.fixture
def calls(model: SlowModel) -> Iterator[GatheredCalls[int, int]]:
    made = GatheredCalls(model.run, max_items=4, name="slow")
    yield made
    made.close()


async def begin(calls: GatheredCalls[int, int], item: int, *, urgent: bool = False) -> "asyncio.Task[list[int]]":
    """Submit an item and let the event loop see it."""
    task = asyncio.create_task(calls.submit([item], urgent=urgent))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_a_lone_call_runs_at_once(model: SlowModel, calls: GatheredCalls[int, int]) -> None:
    assert await calls.submit([1, 2, 3, 4, 5]) == [2, 4, 6, 8, 10]
    assert model.batches == [[1, 2, 3, 4], [5]]
    assert await calls.submit([]) == []


async def test_what_comes_while_the_model_is_busy_goes_in_together_urgent_first(
    model: SlowModel, calls: GatheredCalls[int, int]
) -> None:
    model.may_run.clear()
    tasks = [await begin(calls, 0)]
    tasks += [await begin(calls, item) for item in (1, 2, 3, 4)]
    tasks.append(await begin(calls, 9, urgent=True))
    model.may_run.set()
    assert await asyncio.gather(*tasks) == [[0], [2], [4], [6], [8], [18]]
    assert model.batches == [[0], [9, 1, 2, 3], [4]]
    assert (calls.batches, calls.items) == (3, 6)


async def test_a_cancelled_call_is_taken_back(model: SlowModel, calls: GatheredCalls[int, int]) -> None:
    model.may_run.clear()
    first, second = await begin(calls, 0), await begin(calls, 1)
    second.cancel()
    await asyncio.sleep(0)
    model.may_run.set()
    assert await first == [0]
    assert await calls.submit([2]) == [4]
    assert model.batches == [[0], [2]]


async def test_cancelling_the_batch_under_way_leaves_the_others(
    model: SlowModel, calls: GatheredCalls[int, int]
) -> None:
    model.may_run.clear()
    first, second = await begin(calls, 0), await begin(calls, 1)
    first.cancel()
    model.may_run.set()
    assert await second == [2]


async def test_an_error_reaches_the_callers_of_its_batch_only(model: SlowModel, calls: GatheredCalls[int, int]) -> None:
    with pytest.raises(RuntimeError, match="bad item"):
        await calls.submit([-1])
    assert await calls.submit([1]) == [2]


async def test_a_batch_that_does_not_fit_is_halved(model: SlowModel, calls: GatheredCalls[int, int]) -> None:
    model.fits = 1
    assert await calls.submit([1, 2, 3, 4]) == [2, 4, 6, 8]
    model.fits = 0
    with pytest.raises(ModelOutOfMemory):
        await calls.submit([1, 2])


async def test_a_lack_of_memory_is_remembered(model: SlowModel, calls: GatheredCalls[int, int]) -> None:
    model.fits = 2
    assert await calls.submit([1, 2, 3, 4]) == [2, 4, 6, 8]
    tried = calls.batches
    assert await calls.submit([5, 6, 7, 8]) == [10, 12, 14, 16]
    assert calls.batches - tried == 2, "no batch is tried at a size that did not fit"
    assert calls.max_items == 2


async def test_closing_answers_whoever_waits(model: SlowModel, calls: GatheredCalls[int, int]) -> None:
    model.may_run.clear()
    tasks = [await begin(calls, item) for item in range(7)]
    model.may_run.set()
    calls.close()  # this loop has no turn in between: only the first batch has begun
    async with asyncio.timeout(10):
        first, *others = await asyncio.gather(*tasks, return_exceptions=True)
    assert first == [0]
    assert [type(other) for other in others] == [ModelUnavailable] * 6
    with pytest.raises(ModelUnavailable):
        await calls.submit([1])


async def test_closing_answers_a_batch_that_the_thread_has_not_begun(calls: GatheredCalls[int, int]) -> None:
    busy = threading.Event()
    calls._thread.submit(busy.wait)
    tasks = [await begin(calls, item) for item in range(2)]
    closing = asyncio.create_task(asyncio.to_thread(calls.close))
    try:
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        busy.set()
        await closing
    assert [type(outcome) for outcome in outcomes] == [ModelUnavailable] * 2
