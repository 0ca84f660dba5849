"""Every route, as the table of routes and scopes says: who gets in, and that nobody sees another tenant's."""

import re
import time
from typing import Any

import httpx
import pytest

from pipelines.accounts.keys import Holder, KeyTerms, mint_key
from pipelines.fakes.accounts import InMemoryAccounts
from serve_app.api.edge.authentication import route_scopes
from serve_app.settings import ALL_SCOPES, TENANT_SCOPES, Settings
from tests.api.conftest import BuildWorld, World, build_world
from tests.api.edge.test_authentication import key

KEYED = Settings(
    profile="gpu",
    keys=(
        key("owner", "tenant-a", *TENANT_SCOPES),
        key("stranger", "tenant-b", *TENANT_SCOPES),
        *(key(f"only {scope}", "tenant-a", scope) for scope in ALL_SCOPES),
    ),
)
TABLE = dict(route_scopes(build_world(KEYED).app))
ROUTES = list(TABLE)
UNKNOWN_ID = "01928374-0000-7000-8000-000000000000"


@pytest.fixture
async def world(build: BuildWorld) -> World:
    made: World = await build(KEYED)
    return made


def filled(path: str, value: str) -> str:
    return re.sub(r"\{[^}]+\}", value, path)


async def send(world: World, held: str | None, method: str, path: str) -> httpx.Response:
    async with world.client_for(held) as client:
        return await client.request(method, path)


def test_the_table_holds_every_route_and_scope_that_there_is() -> None:
    assert TABLE["POST", "/v1/jobs"] == "jobs:write"
    assert TABLE["GET", "/v1/jobs/{job_id}/audio"] == "jobs:read"
    assert TABLE["POST", "/v1/keys"] == "admin"
    assert TABLE["GET", "/v1/templates"] is None
    assert set(TABLE.values()) - {None} <= set(ALL_SCOPES)


async def test_the_document_says_what_the_table_says(world: World) -> None:
    document = (await world.client.get("/openapi.json")).json()

    for (method, path), scope in TABLE.items():
        operation = document["paths"].get(path.replace(":path", ""), {}).get(method.lower())
        if operation is None:
            continue  # an alias that is not in the document
        declared = {name for entry in operation["security"] for name in entry.get("Bearer", [])}
        assert declared == ({scope} if scope else set()), (method, path)


async def test_nobody_gets_in_without_a_living_key(world: World) -> None:
    store, holder = world.services.accounts, Holder(tenant="tenant-a", scopes=ALL_SCOPES)
    revoked, revoked_key = await mint_key(store, holder, KeyTerms(name="r", scopes=ALL_SCOPES), now_s=1.0)
    await store.revoke_key("tenant-a", revoked.key_id, time.time())
    terms = KeyTerms(name="e", scopes=ALL_SCOPES, expires_at_s=2.0)
    _, expired_key = await mint_key(store, holder, terms, now_s=1.0)

    for held in (None, "wrong", revoked_key, expired_key):
        for method, path in ROUTES:
            answer = await send(world, held, method, filled(path, UNKNOWN_ID))
            assert answer.status_code == 401, (held, method, path)


async def test_each_scope_alone_opens_its_routes_and_no_other(world: World) -> None:
    for scope in ALL_SCOPES:
        for (method, path), needed in TABLE.items():
            if needed in (scope, None):
                continue
            answer = await send(world, f"only {scope}", method, filled(path, UNKNOWN_ID))
            assert answer.status_code == 403, (scope, method, path)
            assert str(needed) in answer.text, (scope, method, path)


async def test_no_route_opens_less_than_its_scope(world: World) -> None:
    for (method, path), needed in TABLE.items():
        held = f"only {needed}" if needed else "only search"
        answer = await send(world, held, method, filled(path, UNKNOWN_ID))
        assert answer.status_code not in (401, 500), (method, path, answer.text)
        if answer.status_code == 403:  # a route may want more, by what is asked
            assert "scope" in answer.text, (method, path)


async def test_another_tenants_is_not_there_on_any_route(world: World, wav: bytes) -> None:
    """What is the owner's is answered to a stranger exactly as what is nobody's."""
    async with world.client_for("owner") as client:
        fields = {"features": "raw_transcript,diarization,index", "collection": "course"}
        sent = await client.post("/v1/jobs", files={"file": ("lecture.wav", wav)}, data=fields)
        assert sent.status_code == 202, sent.text
        job_id = sent.json()["id"]
        assert isinstance(world.services.accounts, InMemoryAccounts)
        made = await client.post("/v1/keys", json={"name": "k", "scopes": ["jobs:read"]})
    await world.jobs.settle("tenant-a", job_id)
    owned = {"job_id": job_id, "task_id": job_id, "key_id": made.json()["id"], "name": "course"}

    for method, path in ROUTES:
        names = re.findall(r"\{([^}:]+)", path)
        if not names or not set(names) & set(owned):
            continue
        theirs = _address(path, {name: owned.get(name, "nothing") for name in names})
        unknown = {name: "nothing" if name == "name" else UNKNOWN_ID for name in names}
        nobodys = _address(path, unknown)
        seen, expected = await send(world, "stranger", method, theirs), await send(world, "stranger", method, nobodys)
        assert seen.status_code == expected.status_code, (method, path, seen.text)
        assert _words(seen, theirs) == _words(expected, nobodys), (method, path)
    async with world.client_for("owner") as client:
        assert (await client.get(f"/v1/jobs/{job_id}")).status_code == 200
        assert (await client.get("/v1/collections/course")).status_code == 200


def _address(path: str, values: dict[str, str]) -> str:
    return re.sub(r"\{([^}:]+)[^}]*\}", lambda match: values[match[1]], path)


def _words(answer: httpx.Response, address: str) -> Any:
    """Return the body without what was asked for: an answer may repeat it."""
    text = answer.text
    for part in address.split("/"):
        if len(part) > 5:
            text = text.replace(part, "…")
    return text.replace("nothing", "…")
