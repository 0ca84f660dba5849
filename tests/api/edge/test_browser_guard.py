"""Where nobody needs a key, pages of other sites are kept out by what browsers say of them."""

import pytest
from starlette.types import Message

from serve_app.settings import Settings
from tests.api.conftest import BuildWorld, World


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "127.9.9.9", "[::1]:8000", "a.localhost"]
)
async def test_names_of_this_machine_are_answered_to(world: World, host: str) -> None:
    assert (await world.client.get("/v1/jobs", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "", "[::1"]
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/health/live", "/docs", "/openapi.json", "/nowhere"])
async def test_a_name_that_was_pointed_here_is_refused_on_every_route(world: World, host: str, path: str) -> None:
    refused = await world.client.get(path, headers={"Host": host})

    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "foreign_origin")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000", "file://", "http://[", ""])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_page_of_another_site_is_refused(world: World, origin: str, method: str) -> None:
    headers = {"Host": "localhost:8000", "Origin": origin}

    refused = await world.client.request(method, "/v1/jobs", headers=headers)

    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "foreign_origin")


async def test_our_own_page_is_answered_to(world: World) -> None:
    headers = {"Host": "localhost:8000", "Origin": "http://localhost:8000"}

    assert (await world.client.get("/v1/jobs", headers=headers)).status_code == 200


async def test_a_name_that_is_trusted_is_answered_to(build: BuildWorld) -> None:
    world = await build(Settings(trusted_hosts=("box.example",)))

    assert (await world.client.get("/v1/jobs", headers={"Host": "box.example:8000"})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [(b"host", b"localhost:8000"), (b"origin", b"https://evil.example")],
        [(b"host", b"evil.example"), (b"origin", b"http://evil.example")],
    ],
)
async def test_a_websocket_of_another_site_never_opens(world: World, headers: list[tuple[bytes, bytes]]) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1/realtime", "headers": headers, "query_string": b""}
    await world.app(scope, receive, send)

    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]
