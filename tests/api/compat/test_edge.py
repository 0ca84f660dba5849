"""Errors of the four systems' routes, whoever makes them: always ``{"detail": …}``, and nowhere else."""

import json

import pytest
from fastapi.routing import APIRoute

from serve_app.api.compat import audio_rag, helpline, maie, queued_rag
from serve_app.settings import LimitSettings, Settings
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import KEYED

SYSTEMS = (maie, audio_rag, queued_rag, helpline)
ROUTES = sorted(
    (method, route.path.replace("{job_id}", "x"))
    for system in SYSTEMS
    for route in system.router.routes
    if isinstance(route, APIRoute) and route.path != "/"
    for method in route.methods
)


async def test_without_a_key_every_route_is_closed_and_says_so_in_detail(build: BuildWorld) -> None:
    world: World = await build(KEYED)
    for method, path in ROUTES:
        refused = await world.client.request(method, path)

        assert (refused.status_code, set(refused.json())) == (401, {"detail"}), path
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert refused.headers["x-request-id"]
        assert int(refused.headers["content-length"]) == len(refused.content)


async def test_a_missing_scope_is_a_403(build: BuildWorld) -> None:
    world: World = await build(KEYED, key="key-reader")

    for method, path in (("POST", "/v1/process"), ("POST", "/chat"), ("POST", "/qa/evaluate")):
        refused = await world.client.request(method, path, content=b"rubbish")
        assert refused.status_code == 403, path
        assert "does not carry the scope" in refused.json()["detail"]


async def test_what_is_too_large_is_refused_in_detail_before_it_is_read(build: BuildWorld) -> None:
    world: World = await build(Settings(limits=LimitSettings(json_bytes=100, upload_bytes=100)))

    asked = await world.client.post("/api/v1/query", json={"query": "x" * 200})
    uploaded = await world.client.post("/v1/process", files={"file": ("a.wav", b"x" * 2_000_000)})

    assert [(answer.status_code, set(answer.json())) for answer in (asked, uploaded)] == [(413, {"detail"})] * 2


async def test_a_fault_of_ours_is_said_in_detail_without_its_words(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(tenant: str) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(world.jobs, "depth", broken)
    failed = await world.client.get("/audio/queue/status")

    assert failed.status_code == 500
    assert "secret" not in failed.text
    assert set(failed.json()) == {"detail"}


async def test_the_other_routes_keep_their_errors(world: World) -> None:
    for path in ("/v1/jobs/x", "/v1/status", "/v1/templates/none", "/api/v1/nothing", "/nothing"):
        assert set((await world.client.get(path)).json()) == {"error"}, path
    wrong_method = await world.client.get("/v1/process")
    assert (wrong_method.status_code, set(wrong_method.json())) == (405, {"detail"})
    assert wrong_method.headers["allow"] == "POST"


async def test_an_answer_that_is_no_error_passes_as_it_is(world: World) -> None:
    answer = await world.client.get("/health")

    assert json.loads(answer.content)["status"] == "healthy"
    assert int(answer.headers["content-length"]) == len(answer.content)
