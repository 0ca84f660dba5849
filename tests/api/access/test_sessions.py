"""A browser that holds a key: cookies, and sound that a player opens by itself."""

import time
from typing import Any

import httpx
import pytest
from starlette.types import Message

from serve_app.api.edge import authentication
from serve_app.settings import TENANT_SCOPES, Settings
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import key

KEYED = Settings(
    profile="gpu", keys=(key("owner", "tenant-a", *TENANT_SCOPES), key("other", "tenant-b", *TENANT_SCOPES))
)
HERE = {"Origin": "http://localhost"}


@pytest.fixture
async def world(build: BuildWorld, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(authentication, "SEEN_WITHIN_S", 0.0)
    made: World = await build(KEYED)
    return made


async def begin(world: World, held: str = "owner", **fields: Any) -> httpx.Response:
    answer = await world.client.post("/v1/session", json=fields, headers={"Authorization": f"Bearer {held}"})
    assert answer.status_code == 201, answer.text
    return answer


async def test_a_key_becomes_a_cookie_that_no_script_reads(world: World) -> None:
    answer = await begin(world)

    assert answer.json()["tenant"] == "tenant-a"
    cookie = answer.headers["set-cookie"].lower()
    for part in ("httponly", "samesite=strict", "path=/", "max-age=43200"):
        assert part in cookie
    assert "owner" not in cookie
    assert (await world.client.get("/v1/jobs")).status_code == 200
    assert (await world.client.get("/v1/session")).json()["scopes"] == list(TENANT_SCOPES)


async def test_over_tls_the_cookie_is_for_tls_alone(world: World) -> None:
    headers = {"Authorization": "Bearer owner", "X-Forwarded-Proto": "https"}

    assert "secure" in (await world.client.post("/v1/session", headers=headers)).headers["set-cookie"].lower()


@pytest.mark.parametrize("origin", [{}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/jobs"), ("DELETE", "/v1/session"), ("POST", "/v1/keys"), ("PATCH", "/v1/jobs")]
)
async def test_what_changes_something_comes_from_our_own_page(
    world: World, origin: dict[str, str], method: str, path: str
) -> None:
    await begin(world)

    refused = await world.client.request(method, path, headers=origin)

    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "foreign_origin")


async def test_our_own_page_can_change_things_and_end_the_session(world: World, wav: bytes) -> None:
    await begin(world)

    sent = await world.client.post("/v1/jobs", files={"file": ("a.wav", wav)}, headers=HERE)
    assert sent.status_code == 202
    assert (await world.client.delete("/v1/session", headers=HERE)).status_code == 204
    assert (await world.client.get("/v1/jobs")).status_code == 401


async def test_a_websocket_with_a_cookie_comes_from_our_own_page(world: World) -> None:
    cookie = (await begin(world)).headers["set-cookie"].partition(";")[0].encode()
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"cookie", cookie), (b"origin", b"https://evil.example")]
    await world.app(
        {"type": "websocket", "path": "/v1/realtime", "headers": headers, "query_string": b""}, receive, send
    )

    assert [message.get("code") for message in sent] == [1008]


async def test_a_session_ends_with_its_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await begin(world, lifetime_s=60)
    assert (await world.client.get("/v1/jobs")).status_code == 200

    later_s = time.time() + 61
    monkeypatch.setattr(world.app.state.signer, "_clock", lambda: later_s)

    assert (await world.client.get("/v1/jobs")).status_code == 401


async def test_a_session_and_its_sound_end_with_the_key(world: World, wav: bytes) -> None:
    owner = {"Authorization": "Bearer owner"}
    made = await world.client.post("/v1/keys", json={"name": "n", "scopes": ["jobs:read"]}, headers=owner)
    job = (await world.client.post("/v1/jobs", files={"file": ("a.wav", wav)}, headers=owner)).json()
    await begin(world, made.json()["key"])
    link = (await world.client.post(f"/v1/jobs/{job['id']}/audio/link", headers=HERE)).json()["url"]
    async with world.client_for() as player:
        assert (await player.get(link)).status_code == 200

        await world.client.delete(f"/v1/keys/{made.json()['id']}", headers=owner)

        assert (await world.client.get("/v1/jobs")).status_code == 401
        assert (await player.get(link)).status_code == 401


@pytest.mark.parametrize("token", ["", ".", "x.y", "é.é", "eyJrZXlfaWQiOiJub25lIn0.AAAA"])
async def test_a_forged_cookie_opens_nothing(world: World, token: str) -> None:
    headers = {b"Cookie": f"rayscribe_session={token}".encode()}

    assert (await world.client.get("/v1/jobs", headers=headers)).status_code == 401


@pytest.mark.parametrize("lifetime_s", [0, -1, 43_201])
async def test_no_session_lasts_longer_than_half_a_day(world: World, lifetime_s: float) -> None:
    headers = {"Authorization": "Bearer owner"}

    assert (await world.client.post("/v1/session", json={"lifetime_s": lifetime_s}, headers=headers)).status_code == 422


async def test_signed_sound_opens_one_recording_and_nothing_else(world: World, wav: bytes) -> None:
    async with world.client_for("owner") as client:
        one, two = [(await client.post("/v1/jobs", files={"file": ("a.wav", wav)})).json() for _ in range(2)]
        link = (await client.post(f"/v1/jobs/{one['id']}/audio/link", json={})).json()["url"]
    token = link.partition("?")[2]

    whole = await world.client.get(link)
    part = await world.client.get(link, headers={"Range": "bytes=0-9"})

    assert (whole.status_code, whole.content) == (200, wav)
    assert (part.status_code, part.content) == (206, wav[:10])
    for path in (
        f"/v1/jobs/{two['id']}/audio",
        f"/v1/jobs/{one['id']}",
        f"/v1/jobs/{one['id']}/transcript",
        "/v1/jobs",
    ):
        assert (await world.client.get(f"{path}?{token}")).status_code == 401, path
    assert (await world.client.post(f"{link}")).status_code == 401
    assert (await world.client.get(link + "x")).status_code == 401
    async with world.client_for("other") as client:
        assert (await client.post(f"/v1/jobs/{one['id']}/audio/link", json={})).status_code == 404
        assert (await client.get(link)).status_code == 404  # a key of one's own goes first


async def test_signed_sound_ends_in_time_and_with_its_job(
    world: World, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.client_for("owner") as client:
        job = (await client.post("/v1/jobs", files={"file": ("a.wav", wav)})).json()
        link = (await client.post(f"/v1/jobs/{job['id']}/audio/link", json={"lifetime_s": 60})).json()["url"]
        later_s = time.time() + 61
        with monkeypatch.context() as patched:
            patched.setattr(world.app.state.signer, "_clock", lambda: later_s)
            assert (await world.client.get(link)).status_code == 401
        assert (await world.client.get(link)).status_code == 200
        await client.delete(f"/v1/jobs/{job['id']}?erase=true")
    assert (await world.client.get(link)).status_code == 404


async def test_a_session_is_not_sound_and_sound_is_no_session(world: World, wav: bytes) -> None:
    async with world.client_for("owner") as client:
        job = (await client.post("/v1/jobs", files={"file": ("a.wav", wav)})).json()
        link = (await client.post(f"/v1/jobs/{job['id']}/audio/link", json={})).json()["url"]
    cookie = (await begin(world)).cookies["rayscribe_session"]
    world.client.cookies.clear()

    assert (await world.client.get(f"/v1/jobs/{job['id']}/audio?token={cookie}")).status_code == 401
    headers = {"Cookie": f"rayscribe_session={link.rpartition('=')[2]}"}
    assert (await world.client.get("/v1/jobs", headers=headers)).status_code == 401
