import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from pipelines.recognition.transcribe import run_in_order


async def numbers(count: int, read: list[int] | None = None) -> AsyncIterator[int]:
    for number in range(count):
        if read is not None:
            read.append(number)
        yield number


class Gates:
    """Work that ends when the test says so."""

    def __init__(self) -> None:
        self.gates: dict[int, asyncio.Event] = {}
        self.cancelled: list[int] = []

    async def work(self, number: int) -> int:
        gate = self.gates.setdefault(number, asyncio.Event())
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        return number * 2

    def open(self, *numbers: int) -> None:
        for number in numbers:
            self.gates.setdefault(number, asyncio.Event()).set()


async def collect(gates: Gates, count: int, *, at_once: int, read: list[int] | None = None) -> list[int]:
    async with aclosing(run_in_order(numbers(count, read), gates.work, at_once=at_once)) as results:
        return [result async for result in results]


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_results_come_in_order_whatever_ends_first() -> None:
    gates = Gates()
    collecting = asyncio.create_task(collect(gates, 5, at_once=3))
    for number in (2, 1, 4, 3, 0):
        await turns()
        gates.open(number)
    assert await collecting == [0, 2, 4, 6, 8]


async def test_no_more_than_allowed_are_under_way_and_the_producer_waits() -> None:
    gates, read = Gates(), list[int]()
    collecting = asyncio.create_task(collect(gates, 100, at_once=3, read=read))
    await turns()
    assert read == [0, 1, 2]
    gates.open(1)
    await turns()
    assert read == [0, 1, 2, 3]
    gates.open(*range(100))
    assert len(await collecting) == 100


async def test_results_behind_a_slow_one_do_not_pile_up_without_end() -> None:
    gates, read = Gates(), list[int]()
    gates.open(*range(1, 100))
    collecting = asyncio.create_task(collect(gates, 100, at_once=2, read=read))
    await turns(1000)
    assert len(read) <= 9
    gates.open(0)
    assert len(await collecting) == 100


async def test_a_failure_is_raised_as_it_is_and_cancels_the_rest() -> None:
    gates = Gates()

    async def work(number: int) -> int:
        if number == 2:
            raise KeyError("broken")
        return await gates.work(number)

    async with aclosing(run_in_order(numbers(10), work, at_once=3)) as results:
        with pytest.raises(KeyError):
            await anext(results)
    assert gates.cancelled == [0, 1]


async def test_a_failure_is_noticed_while_the_producer_is_at_its_next_item() -> None:
    closed: list[str] = []

    async def silent_after_one() -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.Event().wait()
        finally:
            closed.append("producer")

    async def fail(number: int) -> int:
        raise KeyError("broken")

    async with asyncio.timeout(10), aclosing(run_in_order(silent_after_one(), fail, at_once=3)) as results:
        with pytest.raises(KeyError):
            await anext(results)
    assert closed == ["producer"]


async def test_a_result_is_given_while_the_producer_is_at_its_next_item() -> None:
    async def silent_after_one() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    gates = Gates()
    gates.open(1)
    async with asyncio.timeout(10), aclosing(run_in_order(silent_after_one(), gates.work, at_once=3)) as results:
        assert await anext(results) == 2


async def test_closing_early_cancels_what_is_under_way() -> None:
    gates = Gates()
    gates.open(0)
    async with aclosing(run_in_order(numbers(10), gates.work, at_once=3)) as results:
        assert await anext(results) == 0
    await turns()
    assert set(gates.cancelled) <= {1, 2, 3}
    assert len(asyncio.all_tasks()) == 1


async def test_no_items_give_no_results() -> None:
    assert await collect(Gates(), 0, at_once=1) == []
