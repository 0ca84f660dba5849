import hashlib

import httpx
import pytest
from starlette.types import Message

from serve_app.api.edge.authentication import PUBLIC_FOLDERS, PUBLIC_PATHS
from serve_app.settings import ALL_SCOPES, ApiKey, Scope, Settings
from tests.api.conftest import BuildWorld, World


def key(text: str, tenant: str, *scopes: Scope) -> ApiKey:
    return ApiKey(sha256=hashlib.sha256(text.encode()).hexdigest(), tenant=tenant, scopes=scopes or ALL_SCOPES)


KEYED = Settings(
    profile="gpu",
    keys=(key("key-a", "tenant-a"), key("key-b", "tenant-b"), key("key-reader", "tenant-a", "jobs:read")),
)


@pytest.fixture
async def keyed(build: BuildWorld) -> World:
    world: World = await build(KEYED)
    return world


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic key-a"},
        {"Authorization": "Bearer key-a key-b"},
        {"X-API-Key": ""},
        {"X-API-Key": "wrong"},
        {"X-API-Key": hashlib.sha256(b"key-a").hexdigest()},
    ],
)
async def test_no_key_or_a_wrong_one_is_a_401(keyed: World, headers: dict[str, str]) -> None:
    response = await keyed.client.get("/v1/jobs", headers=headers)

    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer key-a"}, {"Authorization": "bearer  key-a"}, {"X-API-Key": "key-a"}]
)
async def test_a_key_is_taken_from_either_header(keyed: World, headers: dict[str, str]) -> None:
    assert (await keyed.client.get("/v1/jobs", headers=headers)).status_code == 200


async def test_a_key_with_bytes_that_are_no_text_is_only_wrong(keyed: World) -> None:
    response = await keyed.client.get("/v1/jobs", headers={b"X-API-Key": b"\xff\xfe"})

    assert response.status_code == 401


@pytest.mark.parametrize("text", ["schlüssel", "clé à", "ключ"])
@pytest.mark.parametrize("header", [b"Authorization", b"X-API-Key"])
async def test_a_key_is_known_by_the_bytes_that_are_sent(build: BuildWorld, text: str, header: bytes) -> None:
    """Its hash is that of ``printf %s KEY | sha256sum``; the last byte of an à looks like a space in Latin-1."""
    world = await build(Settings(profile="gpu", keys=(key(text, "tenant-a"),)))
    scheme = b"Bearer " if header == b"Authorization" else b""

    response = await world.client.get("/v1/jobs", headers={header: scheme + text.encode()})

    assert response.status_code == 200


async def test_a_scope_that_is_missing_is_a_403_before_the_body_is_looked_at(keyed: World) -> None:
    async with keyed.client_for("key-reader") as client:
        response = await client.post("/v1/jobs", content=b"rubbish")

    assert response.status_code == 403
    assert response.json()["error"]["code"] == "insufficient_scope"
    assert "jobs:write" in response.json()["error"]["message"]


async def test_a_body_is_not_read_for_somebody_unknown(keyed: World) -> None:
    read = 0

    async def chunks() -> object:
        nonlocal read
        for _ in range(10):
            read += 1
            yield b"x" * 1_000

    response = await keyed.client.post("/v1/jobs", content=chunks())  # type: ignore[arg-type]

    assert (response.status_code, read) == (401, 0)


async def test_the_tenant_comes_from_the_key_alone(keyed: World, logged: list[dict[str, object]]) -> None:
    async with keyed.client_for("key-b") as client:
        await client.get("/v1/jobs?tenant=tenant-a", headers={"X-Tenant": "tenant-a"})

    assert logged[-1]["tenant"] == "tenant-b"


async def test_without_keys_the_local_profile_serves_its_default_tenant(
    world: World, logged: list[dict[str, object]]
) -> None:
    assert (await world.client.get("/v1/jobs", headers={"Authorization": "Bearer sk-anything"})).status_code == 200
    assert logged[-1]["tenant"] == "default"


async def test_a_websocket_without_a_key_never_opens(keyed: World) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await keyed.app({"type": "websocket", "path": "/v1/realtime", "headers": [], "query_string": b""}, receive, send)

    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]


async def test_every_route_but_the_public_ones_is_closed(keyed: World) -> None:
    paths = [getattr(route, "path", "") for route in keyed.app.routes]

    for path in paths:
        if path in PUBLIC_PATHS or (path + "/").startswith(PUBLIC_FOLDERS):
            continue
        assert (await keyed.client.get(path)).status_code == 401, path


@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/docs", "/openapi.json", "/docs-assets/favicon.png"]
)
async def test_what_holds_nothing_secret_is_public(keyed: World, path: str) -> None:
    assert (await keyed.client.get(path)).status_code == 200


async def test_nothing_of_a_key_is_ever_shown(keyed: World) -> None:
    async with keyed.client_for("key-a") as client:
        for path in ("/health/detailed", "/health/models", "/v1/models", "/openapi.json"):
            response: httpx.Response = await client.get(path)
            assert response.status_code == 200
            assert KEYED.keys[0].sha256 not in response.text
            assert "key-a" not in response.text
