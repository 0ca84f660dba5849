"""Audio RAG's client, written from product.md alone."""

from tests.api.compat.conftest import poll
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import KEYED
from tests.api.jobs.test_jobs import UNKNOWN


async def test_a_recording_end_to_end(world: World, wav: bytes) -> None:
    client = world.client
    assert (await client.get("/api/v1/")).json()["status"] == "ok"

    accepted = await client.post(
        "/api/v1/ingest",
        files={"file": ("lecture.wav", wav)},
        data={"collection": "biology-101", "priority": "high"},
        headers={"Idempotency-Key": "lecture-7"},
    )

    assert accepted.status_code == 202, accepted.text
    job = accepted.json()
    assert (job["collection"], job["priority"]) == ("biology-101", "high")

    async def fetch() -> object:
        return (await client.get(f"/api/v1/jobs/{job['job_id']}")).json()

    seen = await poll(world, job["job_id"], fetch)
    assert {answer["status"] for answer in seen} <= {"PENDING", "RUNNING", "COMPLETED"}
    assert seen[-1]["result"]["transcript"] == "the exam is in june and who will grade it"
    assert seen[-1]["result"]["speakers"] == ["SPEAKER_00", "SPEAKER_01"]

    found = (await client.post("/api/v1/query", json={"query": "exam in june", "collection": "biology-101"})).json()
    best = found["results"][0]
    assert "exam" in best["text"]
    assert (best["job_id"], best["filename"]) == (job["job_id"], "lecture.wav")
    assert best["start"] < best["end"]


async def test_the_same_idempotency_key_is_the_same_job(idle: World, wav: bytes) -> None:
    async def ingest(**fields: str) -> tuple[int, object]:
        answer = await idle.client.post(
            "/api/v1/ingest", files={"file": ("a.wav", wav)}, data=fields, headers={"Idempotency-Key": "k"}
        )
        return answer.status_code, answer.json().get("job_id", sorted(answer.json()))

    first = await ingest()
    assert await ingest() == first
    assert await ingest(collection="other") == (409, ["detail"])


async def test_what_names_no_collection_goes_where_the_setting_says(world: World, wav: bytes) -> None:
    job = (await world.client.post("/api/v1/ingest", files={"file": ("a.wav", wav)})).json()

    assert job["collection"] == world.services.settings.compat.collection == "default"
    assert (await world.client.post("/api/v1/query", json={"query": "exam", "collection": "none"})).status_code == 404


async def test_a_waiting_job_is_cancelled_once(idle: World, wav: bytes) -> None:
    job = (await idle.client.post("/api/v1/ingest", files={"file": ("a.wav", wav)})).json()
    assert job["status"] == "PENDING"

    cancelled = await idle.client.delete(f"/api/v1/jobs/{job['job_id']}")
    again = await idle.client.delete(f"/api/v1/jobs/{job['job_id']}")

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "FAILED")
    assert cancelled.json()["error"] == "the job was cancelled"
    assert (again.status_code, set(again.json())) == (409, {"detail"})


async def test_another_tenants_job_is_not_there(build: BuildWorld, wav: bytes) -> None:
    world = await build(KEYED, run_jobs=False)
    async with world.client_for("key-a") as own, world.client_for("key-b") as other:
        job = (await own.post("/api/v1/ingest", files={"file": ("a.wav", wav)})).json()["job_id"]
        for verb in ("GET", "DELETE"):
            answers = [await other.request(verb, f"/api/v1/jobs/{name}") for name in (job, UNKNOWN)]
            assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
