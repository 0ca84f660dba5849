"""MAIE's client, written from product.md alone."""

import httpx
import pytest

from pipelines.errors import JobStoreUnavailable, ModelError
from tests.api.compat.conftest import poll
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import KEYED
from tests.api.jobs.test_jobs import UNKNOWN

WORDS = ["PENDING", "PREPROCESSING", "PROCESSING_ASR", "PROCESSING_LLM", "COMPLETE", "FAILED"]


async def process(client: httpx.AsyncClient, wav: bytes, **fields: object) -> httpx.Response:
    return await client.post("/v1/process", files={"file": ("call.wav", wav)}, data=fields)


async def test_a_recording_end_to_end(skilled: World, wav: bytes) -> None:
    client = skilled.client
    listed = (await client.get("/v1/templates")).json()["templates"]
    template = next(entry["id"] for entry in listed if entry["id"] == "meeting_notes_v1")
    assert (await client.get(listed[0]["schema_url"])).json()["type"] == "object"

    accepted = await process(client, wav, template_id=template)

    assert (accepted.status_code, set(accepted.json())) == (202, {"task_id"})
    task = accepted.json()["task_id"]

    async def fetch() -> object:
        return (await client.get(f"/v1/status/{task}")).json()

    seen = await poll(skilled, task, fetch)
    words = [answer["status"] for answer in seen]
    assert [WORDS.index(word) for word in words] == sorted(WORDS.index(word) for word in words)
    done = seen[-1]
    assert done["status"] == "COMPLETE"
    assert done["results"]["raw_transcript"] == "the exam is in june and who will grade it"
    assert done["results"]["clean_transcript"]
    assert done["results"]["summary"]
    assert set(done["versions"]) == {"pipeline_version", "asr_backend", "enhancement_llm", "summarization_llm"}
    assert done["versions"]["asr_backend"] == {
        "name": "fake",
        "model_variant": "scripted",
        "model_path": "scripted",
        "checkpoint_hash": "sha256:fake",
        "compute_type": None,
        "decoding_params": {"beam_size": 1},
    }
    assert done["versions"]["summarization_llm"]
    assert set(done["metrics"]) == {
        "input_duration_seconds", "processing_time_seconds", "rtf", "vad_coverage", "asr_confidence_avg",
        "edit_rate_cleaning",
    }  # fmt: skip
    assert done["metrics"]["input_duration_seconds"] == pytest.approx(4.5)
    assert done["submitted_at"] < done["completed_at"]
    assert (done["error"], done["error_code"]) == (None, None)


async def test_a_summary_without_a_template_is_refused(skilled: World, wav: bytes) -> None:
    refused = await process(skilled.client, wav)

    assert refused.status_code == 422
    assert set(refused.json()) == {"detail"}
    assert "template_id" in refused.json()["detail"]
    assert skilled.stored == []


@pytest.mark.parametrize(
    ("files", "fields", "status"),
    [
        ({"file": ("notes.txt", b"no audio at all")}, {"features": "raw_transcript"}, 415),
        ({"file": ("a.wav", b"RIFF")}, {"features": "everything"}, 422),
        ({"recording": ("a.wav", b"RIFF")}, {"features": "raw_transcript"}, 422),
        ({"file": ("a.wav", b"RIFF")}, {"colour": "blue"}, 422),
    ],
)
async def test_what_is_wrong_is_said_in_detail(
    skilled: World, files: dict[str, tuple[str, bytes]], fields: dict[str, str], status: int
) -> None:
    refused = await skilled.client.post("/v1/process", files=files, data=fields)

    assert (refused.status_code, set(refused.json())) == (status, {"detail"})
    assert isinstance(refused.json()["detail"], str)
    assert skilled.stored == []


async def test_a_failed_task_says_why(skilled: World, wav: bytes) -> None:
    async def broken(window: object, options: object) -> None:
        raise ModelError("no window could be decoded")

    skilled.transcriber.transcribe = broken  # type: ignore[method-assign, assignment]
    task = (await process(skilled.client, wav, features="raw_transcript")).json()["task_id"]

    async def fetch() -> object:
        return (await skilled.client.get(f"/v1/status/{task}")).json()

    failed = (await poll(skilled, task, fetch))[-1]
    assert (failed["status"], failed["error_code"]) == ("FAILED", "model_error")
    assert failed["error"] == "no window could be decoded"


async def test_unknown_tasks_and_those_of_others_cannot_be_told_apart(build: BuildWorld, wav: bytes) -> None:
    world = await build(KEYED)
    async with world.client_for("key-a") as own, world.client_for("key-b") as other:
        task = (await process(own, wav, features="raw_transcript")).json()["task_id"]

        answers = [await other.get(f"/v1/status/{name}") for name in (task, UNKNOWN, "nonsense")]

    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
    assert set(answers[0].json()) == {"detail"}


async def test_health_says_what_it_can(idle: World, wav: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    await process(idle.client, wav, features="raw_transcript")
    health = (await idle.client.get("/health")).json()
    assert set(health) == {"status", "version", "redis_connected", "queue_depth", "worker_active"}
    assert (health["status"], health["redis_connected"], health["queue_depth"]) == ("healthy", True, 1)

    async def away(tenant: str) -> None:
        raise JobStoreUnavailable("the job database is down")

    monkeypatch.setattr(idle.jobs, "depth", away)
    health = (await idle.client.get("/health")).json()
    assert (health["status"], health["redis_connected"], health["queue_depth"]) == ("degraded", False, None)


async def test_models_are_listed_as_maie_did(world: World) -> None:
    models = (await world.client.get("/v1/models")).json()["models"]

    assert set(models[0]) >= {
        "backend_id", "name", "default_variant", "model_path", "description", "capabilities", "compute_type", "vram_gb",
    }  # fmt: skip
    assert not any(str(model["model_path"]).startswith("/") for model in models)
