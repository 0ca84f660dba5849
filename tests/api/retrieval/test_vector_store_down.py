"""Qdrant down, slow or read-only, as a client and an operator see it: the guard and the edge are the real ones."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pipelines.errors import PassageStoreUnavailable
from pipelines.ports.passages import PassageStore
from serve_app.remote.guarded import guarded, over_handle
from serve_app.remote.policy_table import policy_table
from serve_app.resilience import Guard
from serve_app.settings import Policy, ResilienceSettings
from tests.api.conftest import BuildWorld, World
from tests.api.stand_ins import QuietCluster

READING = Policy(timeout_s=0.05, retries=0, failures_to_open=2, open_s=60.0)


class Response:
    """What a handle's call gives: it can be awaited and cancelled."""

    def __init__(self, answer: Awaitable[Any]) -> None:
        self._answer = asyncio.ensure_future(answer)

    def __await__(self) -> Any:
        return self._answer.__await__()

    def cancel(self) -> None:
        self._answer.cancel()


class Handle:
    """Stands in for the handle of the store's owner: all its verbs give the same answer."""

    def __init__(self, answer: Callable[[], Awaitable[Any]]) -> None:
        self._answer = answer
        self.calls = 0

    def __getattr__(self, verb: str) -> "Handle":
        return self

    def remote(self, *arguments: Any, **options: Any) -> Response:
        self.calls += 1
        return Response(self._answer())


def store_behind(handle: Handle, guard: Guard, resilience: ResilienceSettings) -> PassageStore:
    return guarded(PassageStore, over_handle(PassageStore, handle), guard, policy_table(resilience)[PassageStore])


class GuardedCluster(QuietCluster):
    """Shows the breakers of a guard."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    def breakers(self) -> Any:
        return self._guard.states


async def down() -> None:
    raise PassageStoreUnavailable("the vector store does not answer")


async def read_only() -> None:
    raise PassageStoreUnavailable("the vector store answered with status 403")


async def slow() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("trouble", [down, read_only, slow])
async def test_a_search_is_refused_the_breaker_opens_and_health_shows_it(
    build: BuildWorld, trouble: Callable[[], Awaitable[Any]]
) -> None:
    guard, handle = Guard(), Handle(trouble)
    store = store_behind(handle, guard, ResilienceSettings(passages_search=READING))
    world: World = await build(passages=store, cluster=GuardedCluster(guard))
    asked = {"query": "exam", "collection": "bio"}

    answers = [await world.client.post("/v1/search", json=asked) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert all(float(answer.headers["retry-after"]) > 0 for answer in answers)
    assert answers[-1].json()["error"]["code"] == "passage_store_unavailable"
    assert float(answers[-1].headers["retry-after"]) == READING.open_s
    assert handle.calls == READING.failures_to_open
    detailed = (await world.client.get("/health/detailed")).json()
    assert detailed["status"] == "down"
    assert detailed["breakers"] == {"passage store": "open"}


async def test_a_store_that_only_cannot_be_written_is_still_searched(build: BuildWorld) -> None:
    writable = False

    async def perform() -> Any:
        if writable:
            return ()
        raise PassageStoreUnavailable("the vector store answered with status 403")

    guard = Guard()
    store = store_behind(Handle(perform), guard, ResilienceSettings(passages_search=READING, passages_write=READING))
    for _ in range(2):
        with pytest.raises(PassageStoreUnavailable, match="403"):
            await store.delete_job("a", "bio", "job-1")
    writable = True
    assert await store.passages("a", "bio", "job-1") == ()
    with pytest.raises(PassageStoreUnavailable, match="left alone"):
        await store.delete_job("a", "bio", "job-1")
    assert guard.states == {"passage store writing": "open", "passage store": "closed"}
