"""What happens around every request."""

import asyncio
import re

import httpx
import pytest
from fastapi import FastAPI, Request

from pipelines import errors
from serve_app.api.application import create_app
from serve_app.api.edge.requests import RequestBody
from serve_app.settings import Settings
from tests.api.conftest import BuildWorld, World, listening
from tests.api.jobs.test_jobs import ended, submitted


class Body(RequestBody):
    text: str


def add_probes(app: FastAPI) -> None:
    """Routes that fail in every way a handler can."""

    @app.get("/v1/probe/crash")
    async def crash() -> None:
        raise RuntimeError("the secret is 42")

    @app.get("/v1/probe/queue-full")
    async def queue_full() -> None:
        raise errors.QueueFull("too many jobs are waiting", None, 3.0)

    @app.post("/v1/probe/body")
    async def body(body: Body) -> str:
        return body.text

    @app.get("/v1/probe/headers")
    async def headers(request: Request) -> dict[str, str]:
        return dict(request.headers)


@pytest.fixture
def probes(world: World) -> httpx.AsyncClient:
    add_probes(world.app)
    return world.client


async def test_an_unexpected_exception_is_a_500_that_says_nothing(
    probes: httpx.AsyncClient, logged: list[dict[str, object]]
) -> None:
    response = await probes.get("/v1/probe/crash")

    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "secret" not in response.text
    [failure] = [entry for entry in logged if entry["event"] == "request_failed"]
    assert failure["request_id"] == response.headers["x-request-id"]
    assert failure["error"] == "RuntimeError"
    assert "test_middleware.py" in str(failure["frames"])
    assert "secret" not in str(logged)


async def test_an_error_of_our_tree_keeps_its_words(probes: httpx.AsyncClient) -> None:
    response = await probes.get("/v1/probe/queue-full")

    assert (response.status_code, response.headers["retry-after"]) == (429, "3")
    assert response.json()["error"]["code"] == "queue_full"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/jobs/", 404, "not_found"),
        ("PUT", "/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/../../etc/passwd", 404, "not_found"),
        ("GET", "/docs-assets/../application.py", 404, "not_found"),
    ],
)
async def test_unknown_routes_and_methods_have_the_same_body(
    world: World, method: str, path: str, status: int, code: str
) -> None:
    response = await world.client.request(method, path)

    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert response.json()["error"]["code"] == code
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, POST"),
        ("PATCH", "/v1/jobs/0192f0c1-2f3b-7abc-8def-0123456789ab", "DELETE, GET"),
        ("POST", "/v1/collections/biology", "DELETE, GET"),
        ("HEAD", "/v1/search", "POST"),
    ],
)
async def test_a_method_that_is_none_of_a_path_is_told_all_that_are(
    world: World, method: str, path: str, allowed: str
) -> None:
    response = await world.client.request(method, path)

    assert (response.status_code, response.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("content", "status", "param"),
    [
        (b"{", 400, None),
        (b'{"text": 1}', 422, "text"),
        (b"{}", 422, "text"),
        (b"", 422, None),
        (b'{"text": "\\ud800"}', 422, None),
        (b'{"text": "x", "more": 1}', 422, "more"),
        (b'"\xff\xfe"', 400, None),
        (b"[" * 100_000, 400, None),
    ],
)
async def test_bodies_that_are_wrong(probes: httpx.AsyncClient, content: bytes, status: int, param: str | None) -> None:
    response = await probes.post("/v1/probe/body", content=content, headers={"content-type": "application/json"})

    assert response.status_code == status, response.text
    assert response.json()["error"]["param"] == param


async def test_a_body_that_is_nested_as_deeply_as_the_parser_allows_is_wrong_not_a_crash(world: World) -> None:
    answers = []
    for depth in range(500, 1_100, 10):
        nested = b"[" * depth + b"]" * depth
        for content in (
            b'{"messages": ' + nested + b', "collection": "bio"}',
            b'{"question": "when", "collection": "bio", "filters": {"metadata": {"week": ' + nested + b"}}}",
        ):
            headers = {"content-type": "application/json"}
            answers.append((await world.client.post("/v1/chat", content=content, headers=headers)).status_code)

    assert set(answers) == {422, 400}


async def test_a_request_id_is_taken_over_if_it_is_sane_and_made_otherwise(world: World) -> None:
    async def id_for(given: str) -> str:
        return (await world.client.get("/health/live", headers={"x-request-id": given})).headers["x-request-id"]

    assert await id_for("trace-1:a.b") == "trace-1:a.b"
    assert await id_for("x" * 129) != "x" * 129
    assert await id_for("<script>") != "<script>"
    assert await id_for("") not in ("", await id_for(""))


async def test_behind_serve_the_proxy_alone_sends_the_request_id(world: World) -> None:
    app = await asyncio.to_thread(create_app, world.services, proxy_sends_request_id=True)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://r") as client:
        assert "x-request-id" not in (await client.get("/health/live")).headers


async def test_headers_that_would_steer_serve_are_not_passed_on(probes: httpx.AsyncClient) -> None:
    sent = {"X-Request-Timeout-Seconds": "-1", "x-request-disconnect-disabled": "?1", "x-other": "kept"}

    received = (await probes.get("/v1/probe/headers", headers=sent)).json()

    assert "x-other" in received
    assert not {"x-request-timeout-seconds", "x-request-disconnect-disabled"} & set(received)


async def test_the_access_log_says_who_what_and_how_long_but_no_content(
    world: World, logged: list[dict[str, object]]
) -> None:
    job_id = "0192f0c1-2f3b-7abc-8def-0123456789ab"

    response = await world.client.get(f"/v1/jobs/{job_id}?secret=content")

    [entry] = [entry for entry in logged if entry["event"] == "request"]
    assert entry.pop("duration_ms") is not None
    assert entry == {
        "event": "request", "log_level": "info", "method": "GET", "route": "/v1/jobs/{job_id}", "tenant": "default",
        "status": 404, "complete": True, "request_id": response.headers["x-request-id"],
    }  # fmt: skip


async def test_requests_are_counted_by_route_not_by_path(world: World) -> None:
    await world.client.get("/v1/anything/secret")
    await world.client.request("INVENTED", "/health/live")

    assert world.metrics.counted == [
        ("http_requests", {"route": "none", "method": "GET", "status": "404"}),
        ("http_requests", {"route": "/health/live", "method": "other", "status": "405"}),
    ]


async def test_a_json_body_above_the_limit_is_refused_unread_and_while_it_comes_in(build: BuildWorld) -> None:
    world = await build(Settings(limits={"json_bytes": 100}))
    add_probes(world.app)
    text = b'{"text": "' + b"x" * 200 + b'"}'

    async def chunks() -> object:
        for position in range(0, len(text), 10):
            yield text[position : position + 10]

    for content in (text, chunks()):
        response = await world.client.post(
            "/v1/probe/body", content=content, headers={"content-type": "application/json"}
        )
        assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")


async def test_a_form_is_no_way_around_the_limit_of_other_routes(build: BuildWorld) -> None:
    world = await build(Settings(limits={"json_bytes": 100}))
    add_probes(world.app)

    response = await world.client.post("/v1/probe/body", files={"file": ("a.wav", b"x" * 200)})

    assert response.status_code == 413


async def test_head_is_answered_wherever_get_is(world: World, wav: bytes) -> None:
    job = await ended(
        world.client, await submitted(world.client, wav, features="diarization,index", collection="talks")
    )
    known = {
        "job_id": job["id"],
        "collection": "talks",
        "name": "talks",
        "template_id": "meeting_notes",
        "model": "ge2e",
    }
    document = (await world.client.get("/openapi.json")).json()
    paths = [path for path, methods in document["paths"].items() if "get" in methods]
    answers = 0
    for path in [*paths, "/openapi.json", "/docs", "/"]:
        address = re.sub(r"{(\w+)[^}]*}", lambda name: known.get(name[1], "none"), path)
        get, head = await world.client.get(address), await world.client.head(address)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert ("content-length" in head.headers) == ("content-length" in get.headers), path
        assert head.headers.get("content-type") == get.headers.get("content-type"), path
        answers += get.status_code == 200
    assert all("head" not in methods for methods in document["paths"].values())
    assert len(paths) >= 25
    assert answers >= len(paths) / 2


async def test_head_of_events_does_not_wait_for_them(idle: World, wav: bytes) -> None:
    job = await submitted(idle.client, wav)
    async with listening(idle.app) as address, httpx.AsyncClient(base_url=address) as client:
        response = await client.head(job["links"]["events"])
    assert response.headers["content-type"].startswith("text/event-stream")
    assert (await idle.client.head("/v1/search")).status_code == 405


async def test_head_is_logged_and_counted_as_head(world: World, logged: list[dict[str, object]]) -> None:
    await world.client.head("/health/live")
    [line] = [entry for entry in logged if entry["event"] == "request"]
    assert (line["method"], line["route"], line["status"]) == ("HEAD", "/health/live", 200)
