"""Keys made and ended while serving."""

import asyncio
import time
from typing import Any

import pytest

from pipelines.fakes.accounts import InMemoryAccounts
from serve_app.api.edge import authentication
from serve_app.settings import ALL_SCOPES, Settings
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import key

ADMIN, OPERATOR, OTHER = "key-admin", "key-operator", "key-other"
KEYED = Settings(
    profile="gpu",
    keys=(
        key(ADMIN, "tenant-a", "admin", "jobs:read"),
        key(OPERATOR, "platform", *ALL_SCOPES),
        key(OTHER, "tenant-b", "admin", "jobs:read"),
    ),
)


@pytest.fixture(autouse=True)
def looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request looks at the store again: how long a look is good for has a test of its own."""
    monkeypatch.setattr(authentication, "SEEN_WITHIN_S", 0.0)


@pytest.fixture
async def world(build: BuildWorld) -> World:
    made: World = await build(KEYED, key=ADMIN)
    return made


async def make(world: World, held: str = ADMIN, **fields: Any) -> Any:
    async with world.client_for(held) as client:
        response = await client.post("/v1/keys", json={"name": "laptop", "scopes": ["jobs:read"], **fields})
    assert response.status_code == 201, response.text
    return response.json()


async def status_with(world: World, held: str, path: str = "/v1/jobs") -> int:
    async with world.client_for(held) as client:
        return (await client.get(path)).status_code


async def test_a_key_is_shown_once_and_opens_what_it_carries(world: World) -> None:
    made = await make(world)

    assert made["key"].startswith(made["prefix"])
    assert (made["tenant"], made["scopes"], made["status"]) == ("tenant-a", ["jobs:read"], "active")
    assert await status_with(world, made["key"]) == 200
    assert await status_with(world, made["key"], "/v1/keys") == 403
    listed = await world.client.get("/v1/keys")
    assert [entry["id"] for entry in listed.json()["data"]] == [made["id"]]
    assert made["key"] not in listed.text


async def test_the_key_itself_is_kept_nowhere(world: World, logged: list[Any]) -> None:
    made = await make(world)
    await status_with(world, made["key"])

    accounts = world.services.accounts
    assert isinstance(accounts, InMemoryAccounts)
    assert made["key"] not in repr(accounts.keys)
    assert made["key"] not in repr(logged)


async def test_a_key_cannot_make_one_that_can_do_more(world: World) -> None:
    refused = await world.client.post("/v1/keys", json={"name": "more", "scopes": ["jobs:read", "chat"]})

    assert (refused.status_code, refused.json()["error"]["param"]) == (403, "scopes")


async def test_a_tenant_reaches_no_other(world: World) -> None:
    foreign = await make(world, OTHER)

    for answer in (
        await world.client.post("/v1/keys", json={"name": "x", "scopes": ["jobs:read"], "tenant": "tenant-b"}),
        await world.client.get("/v1/keys?tenant=tenant-b"),
        await world.client.delete(f"/v1/keys/{foreign['id']}?tenant=tenant-b"),
    ):
        assert answer.status_code == 403
    unknown = await world.client.delete("/v1/keys/nobody")
    theirs = await world.client.delete(f"/v1/keys/{foreign['id']}")
    assert theirs.status_code == unknown.status_code == 404
    assert theirs.json() == unknown.json()
    assert await status_with(world, foreign["key"]) == 200


async def test_the_operator_makes_and_ends_keys_of_any_tenant(world: World) -> None:
    made = await make(world, OPERATOR, tenant="tenant-z")

    assert made["tenant"] == "tenant-z"
    async with world.client_for(OPERATOR) as client:
        assert len((await client.get("/v1/keys?tenant=tenant-z")).json()["data"]) == 1
        assert (await client.delete(f"/v1/keys/{made['id']}?tenant=tenant-z")).json()["status"] == "revoked"
    assert await status_with(world, made["key"]) == 401


async def test_a_revoked_key_is_dead_and_stays_listed(world: World) -> None:
    made = await make(world)

    ended = await world.client.delete(f"/v1/keys/{made['id']}")

    assert (ended.status_code, ended.json()["status"]) == (200, "revoked")
    assert await status_with(world, made["key"]) == 401
    assert (await world.client.get("/v1/keys")).json()["data"][0]["status"] == "revoked"


async def test_a_key_ends_when_it_was_to(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await make(world, expires_at="2100-01-01T00:00:00+01:00")
    assert made["expires_at"] == "2099-12-31T23:00:00.000Z"
    assert await status_with(world, made["key"]) == 200

    monkeypatch.setattr(world.app.state.keys, "_clock", lambda: 4_102_444_800.0)

    assert await status_with(world, made["key"]) == 401


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": "2100-01-01T00:00:00"}, "expires_at"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes.0"),
        ({"name": ""}, "name"),
        ({"tenant": "../etc"}, "tenant"),
        ({"secret": "mine"}, "secret"),
    ],
)
async def test_what_no_key_can_be_is_said(world: World, fields: dict[str, Any], param: str) -> None:
    refused = await world.client.post("/v1/keys", json={"name": "n", "scopes": ["jobs:read"], **fields})

    assert (refused.status_code, refused.json()["error"]["param"]) == (422, param)


async def test_a_rotated_key_gives_way_to_one_like_it(world: World) -> None:
    old = await make(world)

    new = (await world.client.post(f"/v1/keys/{old['id']}/rotate", json={})).json()

    assert {name: new[name] for name in ("name", "scopes", "tenant")} == {
        name: old[name] for name in ("name", "scopes", "tenant")
    }
    assert await status_with(world, old["key"]) == 401
    assert await status_with(world, new["key"]) == 200
    again = await world.client.post(f"/v1/keys/{old['id']}/rotate", json={})
    assert again.status_code == 409


async def test_both_keys_open_during_an_overlap(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = await make(world)
    new = (await world.client.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_s": 60})).json()
    assert await status_with(world, old["key"]) == await status_with(world, new["key"]) == 200

    later_s = time.time() + 61
    monkeypatch.setattr(world.app.state.keys, "_clock", lambda: later_s)

    assert await status_with(world, old["key"]) == 401
    assert await status_with(world, new["key"]) == 200


async def test_who_lacks_a_scope_of_a_key_cannot_rotate_it_into_his_hands(world: World) -> None:
    strong = await make(world, OPERATOR, tenant="tenant-a", scopes=["operator", "admin"])

    refused = await world.client.post(f"/v1/keys/{strong['id']}/rotate", json={})

    assert refused.status_code == 403
    assert await status_with(world, strong["key"], "/v1/keys") == 200


async def test_another_replica_knows_a_new_key_at_once_and_a_dead_one_within_seconds(build: BuildWorld) -> None:
    accounts = InMemoryAccounts()
    one, other = [await build(KEYED, key=ADMIN, accounts=accounts) for _ in range(2)]
    made = await make(one)

    assert await status_with(other, made["key"]) == 200
    await one.client.delete(f"/v1/keys/{made['id']}")
    assert await status_with(other, made["key"]) == 401


def test_a_look_at_a_key_is_good_for_two_seconds() -> None:
    ring = authentication.KeyRing(KEYED, InMemoryAccounts())

    assert ring._seen.ttl == authentication.SEEN_WITHIN_S <= 2.0


async def test_keys_of_the_settings_go_on_while_the_database_is_down(world: World) -> None:
    made = await make(world)
    accounts = world.services.accounts
    assert isinstance(accounts, InMemoryAccounts)
    accounts.down = True

    assert await status_with(world, ADMIN) == 200
    assert await status_with(world, made["key"]) == 503
    assert await status_with(world, "wrong") == 401  # cannot be a key of ours: nobody looks


async def test_many_requests_with_one_new_key_are_all_served(world: World) -> None:
    made = await make(world)

    assert set(await asyncio.gather(*(status_with(world, made["key"]) for _ in range(20)))) == {200}
