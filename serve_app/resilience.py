"""The one place that applies the policy table: timeout, retries with back-off and jitter, circuit breaker.

Retries are tenacity's, breakers purgatory's; both look only at ``RayScribeError.retryable`` and the branch of the tree
that an error is on. A caller's mistake is neither repeated nor counted against the dependency, and a caller who leaves
says nothing about it: neither that it failed nor that it works.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import HALF_OPENED, OpenedState
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from pipelines.errors import DeadlineExceeded, DependencyError, RayScribeError
from serve_app.metrics import MetricsSink, NoMetrics
from serve_app.settings import Policy

ResultT = TypeVar("ResultT")
_PROBE_S = 1.0
"""When to come back, at the earliest: while one call tries whether the dependency works again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How long a stream may keep its reader waiting; what the reader does between two items is not counted."""

    first_s: float
    """For the first item."""
    silence_s: float
    """For each item after it."""
    total_s: float
    """For all of them together."""


class Guard:
    """Calls dependencies under their policies; one instance a process, so that it sees all failures of that process."""

    def __init__(self, metrics: MetricsSink | None = None) -> None:
        """Start with every breaker closed."""
        self._breakers = AsyncCircuitBreakerFactory(exclude=[(BaseException, _is_not_the_dependency)])
        self._states: dict[str, str] = {}
        self._probed: set[str] = set()
        """Dependencies that one call tries out after their breaker was open; the others wait for what it says."""
        self._metrics = metrics or NoMetrics()

    @property
    def states(self) -> Mapping[str, str]:
        """Dependency → ``closed``, ``open`` or ``half-open``, for those called so far."""
        return dict(self._states)

    async def call(
        self,
        dependency: str,
        policy: Policy,
        attempt: Callable[[], Awaitable[ResultT]],
        *,
        extra_timeout_s: float = 0.0,
        unavailable: type[DependencyError] = DependencyError,
        final: tuple[type[RayScribeError], ...] = (),
    ) -> ResultT:
        """Run ``attempt``, again where that can help; not after an error of the kind ``final``.

        Raises what the last attempt raised, DeadlineExceeded where it took longer than the policy's timeout plus
        ``extra_timeout_s``, and ``unavailable`` (with ``retry_after_s``) while the breaker is open.
        """
        retrying = self._retrying(dependency, policy, lambda error: _can_retry(error) and not isinstance(error, final))
        return await retrying(
            self._attempt, dependency, policy, attempt, policy.timeout_s + extra_timeout_s, unavailable
        )

    async def stream(
        self,
        dependency: str,
        policy: Policy,
        begin: Callable[[], AsyncGenerator[ResultT, None]],
        limits: StreamLimits,
        *,
        unavailable: type[DependencyError] = DependencyError,
    ) -> AsyncGenerator[ResultT, None]:
        """Yield what ``begin`` returns, begun again where that can help and nothing has been yielded yet.

        The breaker hears how the stream ended, not that it began. Raises as ``call`` does, and DeadlineExceeded at once
        where the first item is late: it is not waited for twice. Closing closes what ``begin`` returned.
        """
        async with AsyncExitStack() as opened:

            async def first() -> tuple[AsyncGenerator[ResultT, None], ResultT | None]:
                watched = self._watched(dependency, policy, begin, limits, unavailable)
                items = await opened.enter_async_context(aclosing(watched))
                return items, await anext(items, None)

            retrying = self._retrying(dependency, policy, _can_begin_again)
            begun: tuple[AsyncGenerator[ResultT, None], ResultT | None] = await retrying(first)
            items, item = begun
            while item is not None:
                yield item
                item = await anext(items, None)

    async def _attempt(
        self,
        dependency: str,
        policy: Policy,
        attempt: Callable[[], Awaitable[ResultT]],
        timeout_s: float,
        unavailable: type[DependencyError],
    ) -> ResultT:
        late = f"{dependency} did not answer within {timeout_s:.0f} s"
        async with self._watching(dependency, policy, unavailable), _within(timeout_s, late):
            return await attempt()

    async def _watched(
        self,
        dependency: str,
        policy: Policy,
        begin: Callable[[], AsyncGenerator[ResultT, None]],
        limits: StreamLimits,
        unavailable: type[DependencyError],
    ) -> AsyncGenerator[ResultT, None]:
        clock = asyncio.get_running_loop().time
        next_s, left_s = limits.first_s, limits.total_s
        late = f"{dependency} did not begin to answer within {min(next_s, left_s):.0f} s"
        async with self._watching(dependency, policy, unavailable), aclosing(begin()) as items:
            while True:
                asked_s = clock()
                async with _within(min(next_s, left_s), late):
                    item = await anext(items, None)
                if item is None:
                    return
                next_s, left_s = limits.silence_s, left_s - (clock() - asked_s)
                late = f"{dependency} did not go on with its answer in time"
                yield item

    def _retrying(self, dependency: str, policy: Policy, again: Callable[[BaseException], bool]) -> AsyncRetrying:
        return AsyncRetrying(
            stop=stop_after_attempt(policy.retries + 1),
            wait=wait_random_exponential(multiplier=0.2, max=5.0),
            retry=retry_if_exception(again),
            before_sleep=lambda _: self._metrics.count("dependency_retries", dependency=dependency),
            reraise=True,
        )

    @asynccontextmanager
    async def _watching(
        self, dependency: str, policy: Policy, unavailable: type[DependencyError]
    ) -> AsyncIterator[None]:
        """Tell the breaker how the block ends; one block at a time while it is half-open.

        Raises ``unavailable`` instead of entering the block where the breaker refuses.
        """
        if policy.failures_to_open is None:
            yield
            return
        breaker = await self._breakers.get_breaker(dependency, policy.failures_to_open, policy.open_s)
        refused = f"{dependency} has failed repeatedly and is left alone for a while"
        probing = False
        try:
            async with AsyncExitStack() as telling:
                await telling.enter_async_context(breaker)
                if breaker.context.state == HALF_OPENED:
                    if dependency in self._probed:
                        telling.pop_all()
                        raise unavailable(refused, None, _PROBE_S)
                    self._probed.add(dependency)
                    probing = True
                try:
                    yield
                except (asyncio.CancelledError, GeneratorExit):
                    telling.pop_all()
                    raise
        except OpenedState:
            left_s = (breaker.context.opened_at or 0.0) + policy.open_s - time.time()
            raise unavailable(refused, None, min(max(left_s, _PROBE_S), policy.open_s)) from None
        finally:
            if probing:
                self._probed.discard(dependency)
            self._note(dependency, breaker.context.state)

    def _note(self, dependency: str, state: str) -> None:
        readable = {"opened": "open", "half-opened": "half-open"}.get(state, state)
        if self._states.get(dependency) != readable:
            self._states[dependency] = readable
            self._metrics.set("breaker_open", 1.0 if readable == "open" else 0.0, dependency=dependency)


@asynccontextmanager
async def _within(timeout_s: float, late: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise DeadlineExceeded(late) from error


def _can_retry(error: BaseException) -> bool:
    """A breaker that is open says when to come back: asking again at once is what it protects against."""
    return isinstance(error, RayScribeError) and error.retryable and error.retry_after_s is None


def _can_begin_again(error: BaseException) -> bool:
    """Whoever waits for a first item has waited long enough when it is late."""
    return _can_retry(error) and not isinstance(error, DeadlineExceeded)


def _is_not_the_dependency(error: BaseException) -> bool:
    """What no retry can help is a fault of one request or one collection: the others must not be refused for it."""
    return not (isinstance(error, DependencyError) and error.retryable)
