"""The policy table, applied: what is repeated, what is not, when a breaker opens and how it closes."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from pipelines.errors import (
    CollectionDamaged,
    DeadlineExceeded,
    DependencyError,
    InvalidRequest,
    ModelOutOfMemory,
    ModelUnavailable,
    RayScribeError,
)
from serve_app.resilience import Guard, StreamLimits
from serve_app.settings import Policy

QUICK = Policy(timeout_s=5.0, retries=2)
PATIENT = StreamLimits(first_s=60.0, silence_s=60.0, total_s=60.0)
TWICE = Policy(timeout_s=5.0, retries=0, failures_to_open=2, open_s=30.0)


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
    now[0] += 28.0
    with pytest.raises(ModelUnavailable, match="left alone") as refused:
        await guard.call("model", policy, attempt, unavailable=ModelUnavailable)
    assert refused.value.retry_after_s == 2.0
    now[0] += 3.0
    assert await guard.call("model", policy, attempt, unavailable=ModelUnavailable) == "answer"
    assert guard.states == {"model": "closed"}


async def test_one_call_tries_a_dependency_that_had_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr("purgatory.domain.model.time.time", lambda: now[0])
    guard, asked, answer = Guard(), asyncio.Event(), asyncio.Event()
    attempt, _ = failing(*[ModelUnavailable("gone")] * 2)
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="gone"):
            await guard.call("model", TWICE, attempt)
    now[0] += 31.0

    async def try_out() -> str:
        asked.set()
        await answer.wait()
        return "answer"

    probe = asyncio.create_task(guard.call("model", TWICE, try_out))
    await asked.wait()
    for _ in range(3):
        with pytest.raises(DependencyError, match="left alone") as refused:
            await guard.call("model", TWICE, try_out)
        assert refused.value.retry_after_s == 1.0
    answer.set()
    assert await probe == "answer"
    assert await guard.call("model", TWICE, try_out) == "answer"


async def test_a_callers_mistake_does_not_open_a_breaker() -> None:
    policy = Policy(timeout_s=1.0, retries=0, failures_to_open=1)
    attempt, _ = failing(InvalidRequest("wrong"), InvalidRequest("wrong"))
    guard = Guard()
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            await guard.call("model", policy, attempt)
    assert guard.states == {"model": "closed"}


async def leave(guard: Guard) -> None:
    """Call, and be gone before there is an answer."""
    begun = asyncio.Event()

    async def never() -> None:
        begun.set()
        await asyncio.Event().wait()

    calling = asyncio.create_task(guard.call("model", TWICE, never))
    await begun.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_a_caller_who_leaves_says_nothing_about_the_dependency(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr("purgatory.domain.model.time.time", lambda: now[0])
    attempt, _ = failing(*[ModelUnavailable("gone")] * 3)
    guard = Guard()
    for _ in range(2):
        await leave(guard)
        with pytest.raises(ModelUnavailable, match="gone"):
            await guard.call("model", TWICE, attempt)
    assert guard.states == {"model": "open"}
    now[0] += 31.0
    await leave(guard)
    assert guard.states == {"model": "half-open"}
    with pytest.raises(ModelUnavailable, match="gone"):
        await guard.call("model", TWICE, attempt)
    assert guard.states == {"model": "open"}


class Streams:
    """Begins streams: each yields what its turn says, raises what is an error, and waits for ever at None."""

    def __init__(self, *turns: tuple[str | RayScribeError | None, ...]) -> None:
        self.turns = turns
        self.begun = 0
        self.closed = 0

    async def begin(self) -> AsyncGenerator[str, None]:
        items = self.turns[min(self.begun, len(self.turns) - 1)]
        self.begun += 1
        try:
            for item in items:
                await asyncio.sleep(0)
                if item is None:
                    await asyncio.Event().wait()
                elif isinstance(item, RayScribeError):
                    raise item
                else:
                    yield item
        finally:
            self.closed += 1


async def read(guard: Guard, streams: Streams, policy: Policy, limits: StreamLimits = PATIENT) -> list[str]:
    items = guard.stream("model", policy, streams.begin, limits, unavailable=ModelUnavailable)
    return [item async for item in items]


async def test_a_stream_is_begun_again_only_before_its_first_item() -> None:
    gone = ModelUnavailable("gone")
    streams = Streams((gone,), ("a", "b"))
    assert await read(Guard(), streams, QUICK) == ["a", "b"]
    streams = Streams(("a", gone), ("a", "b"))
    with pytest.raises(ModelUnavailable, match="gone"):
        await read(Guard(), streams, QUICK)
    assert (streams.begun, streams.closed) == (1, 1)


async def test_a_stream_that_does_not_begin_is_waited_for_once_and_counts() -> None:
    guard, streams = Guard(), Streams((None,))
    limits = StreamLimits(first_s=0.01, silence_s=60.0, total_s=60.0)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded, match="did not begin to answer within 0 s"):
            await read(guard, streams, TWICE.model_copy(update={"retries": 1}), limits)
    with pytest.raises(ModelUnavailable, match="left alone") as refused:
        await read(guard, streams, TWICE, limits)
    assert (streams.begun, streams.closed) == (2, 2)
    assert refused.value.retry_after_s == pytest.approx(30.0, abs=5.0)


@pytest.mark.parametrize("end", [ModelUnavailable("broke off"), None], ids=["broken", "silent"])
async def test_a_stream_that_breaks_off_counts_although_it_began(end: RayScribeError | None) -> None:
    guard, limits = Guard(), StreamLimits(first_s=60.0, silence_s=0.01, total_s=60.0)
    for _ in range(2):
        with pytest.raises((ModelUnavailable, DeadlineExceeded)):
            await read(guard, Streams(("a", "b", end)), TWICE, limits)
    assert guard.states == {"model": "open"}


async def test_a_stream_that_has_ended_well_closes_the_count() -> None:
    guard, gone = Guard(), Streams(("a", ModelUnavailable("broke off")))
    for streams in (gone, Streams(("a",)), gone):
        try:
            await read(guard, streams, TWICE)
        except ModelUnavailable:
            continue
    assert guard.states == {"model": "closed"}


async def test_a_stream_without_an_end_ends_at_its_deadline() -> None:
    async def endless() -> AsyncGenerator[str, None]:
        while True:
            await asyncio.sleep(0)
            yield "word"

    limits = StreamLimits(first_s=60.0, silence_s=60.0, total_s=0.02)
    with pytest.raises(DeadlineExceeded, match="did not go on"):
        _ = [item async for item in Guard().stream("model", QUICK, endless, limits)]


async def test_what_a_slow_reader_takes_is_not_the_streams_time(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, late_s = asyncio.get_running_loop(), [0.0]
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + late_s[0])
    read_so_far = []
    async for item in Guard().stream("model", QUICK, Streams(("a", "b", "c")).begin, PATIENT):
        read_so_far.append(item)
        late_s[0] += 100.0
    assert read_so_far == ["a", "b", "c"]


async def test_closing_a_stream_closes_what_it_came_from_and_says_nothing_about_it() -> None:
    guard, streams = Guard(), Streams(("a", "b"))
    broken = Streams(("a", ModelUnavailable("broke off")))
    for _ in range(2):
        items = guard.stream("model", TWICE, streams.begin, PATIENT)
        assert await anext(items) == "a"
        await items.aclose()
        with pytest.raises(ModelUnavailable, match="broke off"):
            await read(guard, broken, TWICE)
    assert (streams.closed, guard.states) == (2, {"model": "open"})


async def test_a_stream_of_nothing_is_nothing() -> None:
    assert await read(Guard(), Streams(()), QUICK) == []


async def test_one_damaged_collection_does_not_close_the_store_to_the_others() -> None:
    guard = Guard()
    attempt, calls = failing(*[CollectionDamaged("its files cannot be read")] * 3)
    for _ in range(3):
        with pytest.raises(CollectionDamaged):
            await guard.call("passage store", TWICE, attempt)
    assert len(calls) == 3
    assert await guard.call("passage store", TWICE, attempt) == "answer"
