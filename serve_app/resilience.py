"""The one place that applies the policy table: timeout, retries with back-off and jitter, circuit breaker.

Retries are tenacity's, breakers purgatory's; both look only at ``RayScribeError.retryable`` and the branch of the tree
that an error is on. A caller's mistake is neither repeated nor counted against the dependency.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from pipelines.errors import DeadlineExceeded, DependencyError, RayScribeError
from serve_app.services import MetricsSink, NoMetrics
from serve_app.settings import Policy

ResultT = TypeVar("ResultT")


class Guard:
    """Calls dependencies under their policies; one instance a process, so that it sees all failures of that process."""

    def __init__(self, metrics: MetricsSink | None = None) -> None:
        """Start with every breaker closed."""
        self._breakers = AsyncCircuitBreakerFactory(exclude=[(BaseException, _is_not_the_dependency)])
        self._states: dict[str, str] = {}
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
    ) -> ResultT:
        """Run ``attempt``, again where that can help.

        Raises what the last attempt raised, DeadlineExceeded where it took longer than the policy's timeout plus
        ``extra_timeout_s``, and ``unavailable`` (with ``retry_after_s``) while the breaker is open.
        """
        retrying = AsyncRetrying(
            stop=stop_after_attempt(policy.retries + 1),
            wait=wait_random_exponential(multiplier=0.2, max=5.0),
            retry=retry_if_exception(_can_retry),
            before_sleep=lambda _: self._metrics.count("dependency_retries", dependency=dependency),
            reraise=True,
        )
        return await retrying(
            self._attempt, dependency, policy, attempt, policy.timeout_s + extra_timeout_s, unavailable
        )

    async def _attempt(
        self,
        dependency: str,
        policy: Policy,
        attempt: Callable[[], Awaitable[ResultT]],
        timeout_s: float,
        unavailable: type[DependencyError],
    ) -> ResultT:
        if policy.failures_to_open is None:
            return await _within(timeout_s, dependency, attempt)
        breaker = await self._breakers.get_breaker(dependency, policy.failures_to_open, policy.open_s)
        try:
            async with breaker:
                return await _within(timeout_s, dependency, attempt)
        except OpenedState:
            message = f"{dependency} has failed repeatedly and is left alone for a while"
            raise unavailable(message, None, policy.open_s) from None
        finally:
            self._note(dependency, breaker.context.state)

    def _note(self, dependency: str, state: str) -> None:
        readable = {"opened": "open", "half-opened": "half-open"}.get(state, state)
        if self._states.get(dependency) != readable:
            self._states[dependency] = readable
            self._metrics.set("breaker_open", 1.0 if readable == "open" else 0.0, dependency=dependency)


async def _within(timeout_s: float, dependency: str, attempt: Callable[[], Awaitable[ResultT]]) -> ResultT:
    try:
        async with asyncio.timeout(timeout_s):
            return await attempt()
    except TimeoutError as error:
        raise DeadlineExceeded(f"{dependency} did not answer within {timeout_s:.0f} s") from error


def _can_retry(error: BaseException) -> bool:
    """A breaker that is open says when to come back: asking again at once is what it protects against."""
    return isinstance(error, RayScribeError) and error.retryable and error.retry_after_s is None


def _is_not_the_dependency(error: BaseException) -> bool:
    return not isinstance(error, DependencyError)
