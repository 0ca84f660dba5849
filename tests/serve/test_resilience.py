"""The policy table, applied: what is repeated, what is not, when a breaker opens and how it closes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pipelines.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelOutOfMemory,
    ModelUnavailable,
    RayScribeError,
)
from serve_app.resilience import Guard
from serve_app.settings import Policy

QUICK = Policy(timeout_s=5.0, retries=2)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off is tenacity's business; here it takes no time."""
    monkeypatch.setattr("serve_app.resilience.wait_random_exponential", lambda **_: lambda _: 0.0)


def failing(*errors: RayScribeError) -> tuple[Callable[[], Awaitable[str]], list[int]]:
    """Return a call that raises ``errors`` one after another and then answers, and the list of its calls."""
    calls: list[int] = []

    async def attempt() -> str:
        calls.append(len(calls))
        if len(calls) <= len(errors):
            raise errors[len(calls) - 1]
        return "answer"

    return attempt, calls


async def test_a_passing_failure_is_repeated() -> None:
    attempt, calls = failing(ModelUnavailable("gone"), ModelUnavailable("gone"))
    assert await Guard().call("model", QUICK, attempt) == "answer"
    assert len(calls) == 3


async def test_the_last_error_is_raised_when_retries_are_used_up() -> None:
    attempt, calls = failing(*[ModelUnavailable(f"gone {number}") for number in range(5)])
    with pytest.raises(ModelUnavailable, match="gone 2"):
        await Guard().call("model", QUICK, attempt)
    assert len(calls) == 3


@pytest.mark.parametrize("error", [InvalidRequest("no such language", "language"), ModelOutOfMemory("too much")])
async def test_what_a_retry_cannot_help_is_not_repeated(error: RayScribeError) -> None:
    attempt, calls = failing(error, error)
    with pytest.raises(type(error)):
        await Guard().call("model", QUICK, attempt)
    assert len(calls) == 1


async def test_a_call_that_hangs_ends_at_its_deadline() -> None:
    with pytest.raises(DeadlineExceeded):
        await Guard().call("model", Policy(timeout_s=0.01, retries=0), asyncio.Event().wait)


async def test_audio_may_buy_a_longer_deadline() -> None:
    async def slow() -> str:
        await asyncio.sleep(0.02)
        return "answer"

    assert await Guard().call("model", Policy(timeout_s=0.001, retries=0), slow, extra_timeout_s=10.0) == "answer"


async def test_a_breaker_opens_refuses_and_closes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr("purgatory.domain.model.time.time", lambda: now[0])
    policy = Policy(timeout_s=1.0, retries=0, failures_to_open=2, open_s=30.0)
    attempt, calls = failing(ModelUnavailable("gone"), ModelUnavailable("gone"))
    guard = Guard()
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="gone"):
            await guard.call("model", policy, attempt, unavailable=ModelUnavailable)
    assert guard.states == {"model": "open"}
    with pytest.raises(ModelUnavailable, match="left alone") as refused:
        await guard.call("model", policy, attempt, unavailable=ModelUnavailable)
    assert (len(calls), refused.value.retry_after_s) == (2, 30.0)
    now[0] += 31.0
    assert await guard.call("model", policy, attempt, unavailable=ModelUnavailable) == "answer"
    assert guard.states == {"model": "closed"}


async def test_a_callers_mistake_does_not_open_a_breaker() -> None:
    policy = Policy(timeout_s=1.0, retries=0, failures_to_open=1)
    attempt, _ = failing(InvalidRequest("wrong"), InvalidRequest("wrong"))
    guard = Guard()
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            await guard.call("model", policy, attempt)
    assert guard.states == {"model": "closed"}
