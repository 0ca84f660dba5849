"""Run one coroutine an item, several at once, and hand the results over in the order of the items."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_MOST_UNYIELDED = 4


async def run_in_order(
    items: AsyncIterable[ItemT], work: Callable[[ItemT], Awaitable[ResultT]], *, at_once: int
) -> AsyncGenerator[ResultT, None]:
    """Yield ``work``'s results in the order of ``items``, with at most ``at_once`` of them under way.

    The next item is read only when there is room for it, so that its producer is held back. The first failure ends
    everything and is raised; closing the generator cancels what is under way and waits for it.
    """
    running: deque[asyncio.Task[ResultT]] = deque()
    try:
        async for item in items:
            running.append(asyncio.ensure_future(_as_coroutine(work, item)))
            while running and (running[0].done() or _is_full(running, at_once)):
                if running[0].done():
                    yield running.popleft().result()
                else:
                    await _wait_for_one(running)
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _as_coroutine(work: Callable[[ItemT], Awaitable[ResultT]], item: ItemT) -> ResultT:
    return await work(item)


def _is_full(running: "deque[asyncio.Task[ResultT]]", at_once: int) -> bool:
    """Results that wait for a slow one before them take little room, but not without end."""
    return sum(not task.done() for task in running) >= at_once or len(running) >= _MOST_UNYIELDED * at_once


async def _wait_for_one(running: "deque[asyncio.Task[ResultT]]") -> None:
    done, _ = await asyncio.wait([task for task in running if not task.done()], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
