import asyncio

import pytest

from pipelines.domain.job import QueueDepth
from pipelines.domain.model import AsrInfo, Degradation
from pipelines.errors import JobStoreUnavailable, ModelUnavailable
from pipelines.fakes.jobs import InMemoryJobQueue
from pipelines.fakes.models import FakeTranscriber
from pipelines.fakes.stores import InMemoryArtifactStore
from serve_app.api.openai import models as loaded_models
from serve_app.api.operation import health
from tests.api.conftest import BuildWorld, World


class LoadingTranscriber(FakeTranscriber):
    """Never gets ready."""

    async def info(self) -> AsrInfo:
        await asyncio.Event().wait()
        raise AssertionError


class FallenBackTranscriber(FakeTranscriber):
    async def info(self) -> AsrInfo:
        fallback = Degradation(stage="transcribe", wanted="large-v3-turbo", used="demo-asr", reason="not on disk")
        return AsrInfo(backend="faster-whisper", name="demo-asr", path="/secret/path", fallback=fallback)


class NamespacedTranscriber(FakeTranscriber):
    async def info(self) -> AsrInfo:
        return AsrInfo(backend="faster-whisper", name="Systran/faster-whisper-small")


class DeadQueue(InMemoryJobQueue):
    async def depth(self, tenant: str) -> QueueDepth:
        raise JobStoreUnavailable("the job database does not answer")


class BrokenStore(InMemoryArtifactStore):
    async def size(self, key: str) -> int | None:
        raise RuntimeError("/secret/path is broken")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not answer is given up at once."""
    monkeypatch.setattr(health, "ASK_TIMEOUT_S", 0.02)
    monkeypatch.setattr(loaded_models, "ASK_TIMEOUT_S", 0.02)


async def test_live_asks_nobody(build: BuildWorld) -> None:
    world = await build(jobs=DeadQueue(), artifacts=BrokenStore())

    assert (await world.client.get("/health/live")).json() == {"status": "ok"}


async def test_ready_when_every_dependency_answers(world: World) -> None:
    response = await world.client.get("/health/ready")

    assert response.status_code == 200
    assert response.json()["status"] == "ok"
    assert set(response.json()["checks"]) == {"jobs", "artifacts", "transcriber"}


@pytest.mark.parametrize(
    ("name", "port", "fake", "code"),
    [
        ("jobs", "jobs", DeadQueue(), "job_store_unavailable"),
        ("artifacts", "artifacts", BrokenStore(), "internal_error"),
        ("transcriber", "transcriber", LoadingTranscriber(), "timeout"),
    ],
)
async def test_not_ready_while_one_does_not(build: BuildWorld, name: str, port: str, fake: object, code: str) -> None:
    world = await build(**{port: fake})

    response = await world.client.get("/health/ready")

    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert response.json()["status"] == "down"
    check = response.json()["checks"][name]
    assert (check["status"], check["code"]) == ("down", code)
    assert "secret" not in response.text


async def test_detailed_tells_all_an_operator_asks_first(world: World) -> None:
    body = (await world.client.get("/health/detailed")).json()

    assert body["status"] == "degraded"
    assert body["degraded"] == [
        {"stage": "understand", "wanted": "a language model", "used": "extractive", "reason": "none is configured"}
    ]
    assert {model["role"] for model in body["models"]} == {"asr", "diarizer", "embedder"}
    assert body["deployments"][0] == {"name": "Transcriber", "status": "HEALTHY", "replicas": 1, "message": ""}
    assert body["breakers"] == {"qdrant": "closed"}
    assert body["queue"] == {"total_waiting": 0, "drained_per_s": None}
    assert set(body["checks"]) == {"jobs", "artifacts", "transcriber", "passages"}
    assert body["broken_templates"] == {}
    assert (body["profile"], body["version"]) == ("local", "0.1.0")


async def test_detailed_reports_on_what_is_down_and_does_not_fail_with_it(build: BuildWorld) -> None:
    world = await build(jobs=DeadQueue(), transcriber=LoadingTranscriber())

    response = await world.client.get("/health/detailed")

    assert response.status_code == 200
    assert response.json()["status"] == "down"
    assert response.json()["queue"]["total_waiting"] is None
    [asr] = [model for model in response.json()["models"] if model["role"] == "asr"]
    assert asr["status"] == "loading"


async def test_an_open_breaker_degrades(world: World) -> None:
    world.cluster.breaker_states["qdrant"] = "open"

    assert (await world.client.get("/health/detailed")).json()["breakers"] == {"qdrant": "open"}


async def test_a_fallback_shows_in_health_and_in_the_model_list(build: BuildWorld) -> None:
    world = await build(transcriber=FallenBackTranscriber())

    health_body = (await world.client.get("/health/models")).json()
    models = (await world.client.get("/v1/models")).json()

    assert health_body["status"] == "degraded"
    assert health_body["degraded"][0]["reason"] == "not on disk"
    assert models["models"][0]["fallback"]["wanted"] == "large-v3-turbo"


async def test_the_dependency_that_breaks_says_only_its_code(build: BuildWorld) -> None:
    class Broken(FakeTranscriber):
        async def info(self) -> AsrInfo:
            raise ModelUnavailable("the replica of /secret/path died")

    world = await build(transcriber=Broken())

    assert "secret" not in (await world.client.get("/health/ready")).text


@pytest.mark.parametrize("name", ["Systran/faster-whisper-small", "Systran%2Ffaster-whisper-small"])
async def test_a_model_is_found_by_a_name_with_a_slash(build: BuildWorld, name: str) -> None:
    world = await build(transcriber=NamespacedTranscriber())

    response = await world.client.get(f"/v1/models/{name}")

    assert (response.status_code, response.json()["id"]) == (200, "Systran/faster-whisper-small")


@pytest.mark.parametrize("name", ["nothing", "Systran", "Systran/", "Systran/faster-whisper-small/more"])
async def test_a_model_that_is_not_loaded_is_not_found(build: BuildWorld, name: str) -> None:
    world = await build(transcriber=NamespacedTranscriber())

    response = await world.client.get(f"/v1/models/{name}")

    assert (response.status_code, response.json()["error"]["param"]) == (404, "model")
