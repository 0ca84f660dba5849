"""Collections as files: a backup that is restored, and files that are none."""

import io
import json
import zipfile
from typing import Any

import httpx
import pytest

from pipelines.fakes.jobs import InMemoryJobQueue
from pipelines.jobs.submit import QueueLimits
from serve_app.settings import LimitSettings, Settings
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import KEYED
from tests.api.jobs.test_jobs import ended, submitted

OLD_ID = "0192f0c1-2f3b-7abc-8def-0123456789ab"


async def filled(world: World, client: httpx.AsyncClient, wav: bytes) -> list[Any]:
    """Two recordings in a collection, one of them corrected, and one elsewhere."""
    features = "raw_transcript,diarization,index"
    jobs = [
        await ended(client, await submitted(client, wav, features=features, collection="bio", metadata='{"week": "3"}'))
        for _ in range(2)
    ]
    await ended(client, await submitted(client, wav, features=features, collection="chem"))
    await client.patch(
        f"{jobs[0]['links']['self']}/transcript",
        json={"segments": [{"id": 0, "text": "the exam is in july", "speaker": "Ann"}]},
        headers={"if-match": '"1"'},
    )
    return jobs


async def exported(client: httpx.AsyncClient, **wanted: str) -> bytes:
    answer = await client.get("/v1/collections/bio/export", params=wanted)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    return answer.content


async def bring_back(client: httpx.AsyncClient, content: bytes, **fields: str) -> httpx.Response:
    return await client.post("/v1/collections/import", files={"file": ("bio.zip", content)}, data=fields)


async def until_ended(client: httpx.AsyncClient, taken: Any) -> list[Any]:
    return [await ended(client, (await client.get(f"/v1/jobs/{entry['id']}")).json()) for entry in taken["jobs"]]


async def test_a_backup_is_restored_after_everything_was_erased(build: BuildWorld, wav: bytes) -> None:
    world, empty = await build(), await build()
    originals = await filled(world, world.client, wav)
    content = await exported(world.client)
    assert await exported(world.client) == content

    answer = await bring_back(empty.client, content)

    assert answer.status_code == 202, answer.text
    taken = answer.json()
    assert (taken["collection"], taken["skipped"]) == ("bio", 0)
    assert [entry["source_id"] for entry in taken["jobs"]] == [job["id"] for job in originals]
    restored = await until_ended(empty.client, taken)
    assert [job["status"] for job in restored] == ["succeeded", "succeeded"]
    assert empty.transcriber.windows == []
    for old, new in zip(originals, restored, strict=True):
        for path in ("transcript", "audio"):
            before = await world.client.get(f"{old['links']['self']}/{path}")
            after = await empty.client.get(f"{new['links']['self']}/{path}")
            assert (after.status_code, after.content) == (200, before.content)
        assert new["metadata"] == {"week": "3"}
        assert new["versions"]["asr"] == old["versions"]["asr"]
    assert (await empty.client.get(restored[0]["links"]["transcript"])).headers["etag"] == '"2"'

    found = (await empty.client.post("/v1/search", json={"query": "exam in july", "collection": "bio"})).json()["hits"]
    assert (found[0]["job_id"], found[0]["speakers"][0]) == (restored[0]["id"], "Ann")
    assert found[0]["metadata"] == {"week": "3"}


async def test_twice_is_once_and_what_is_there_is_skipped(world: World, wav: bytes) -> None:
    originals = await filled(world, world.client, wav)
    content = await exported(world.client)

    here = (await bring_back(world.client, content)).json()
    assert (here["jobs"], here["skipped"]) == ([], 2)

    other = (await bring_back(world.client, content, collection="copy")).json()
    again = (await bring_back(world.client, content, collection="copy")).json()
    assert other["jobs"] == again["jobs"]
    assert not {entry["id"] for entry in other["jobs"]} & {job["id"] for job in originals}


async def test_what_was_erased_here_no_file_brings_back(world: World, wav: bytes) -> None:
    originals = await filled(world, world.client, wav)
    content = await exported(world.client)
    copied = (await bring_back(world.client, content, collection="copy")).json()["jobs"]

    await world.client.delete(originals[0]["links"]["self"], params={"erase": "true"})
    back = (await bring_back(world.client, content)).json()
    assert (back["jobs"], back["skipped"], back["erased"]) == ([], 1, 1)

    await world.client.delete(f"/v1/jobs/{copied[1]['id']}", params={"erase": "true"})
    again = (await bring_back(world.client, content, collection="copy")).json()
    assert (again["jobs"], again["erased"]) == ([], 2)


async def test_without_the_sound(world: World, wav: bytes) -> None:
    await filled(world, world.client, wav)
    content = await exported(world.client, recordings="false")

    taken = (await bring_back(world.client, content, collection="quiet")).json()
    [first, _] = await until_ended(world.client, taken)

    assert first["status"] == "succeeded"
    assert (await world.client.get(first["links"]["audio"])).status_code == 404
    assert (await world.client.get(first["links"]["transcript"])).status_code == 200


async def test_a_full_queue_is_waited_for(build: BuildWorld, wav: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await build()
    await filled(world, world.client, wav)
    content = await exported(world.client)
    queue = InMemoryJobQueue(limits=QueueLimits(per_tenant=1))
    narrow = await build(jobs=queue, run_jobs=False)
    pauses: list[float] = []

    async def drained(seconds: float) -> None:
        pauses.append(seconds)
        [waiting] = (await narrow.client.get("/v1/jobs?status=queued")).json()["data"]
        await narrow.client.delete(waiting["links"]["self"])

    monkeypatch.setattr("serve_app.api.retrieval.bundles._pause", drained)
    answer = await bring_back(narrow.client, content)

    assert (answer.status_code, len(answer.json()["jobs"]), len(pauses)) == (202, 2, 1)


async def test_an_export_is_the_tenants_own(build: BuildWorld, wav: bytes) -> None:
    world = await build(KEYED)
    async with world.client_for("key-a") as own, world.client_for("key-b") as other:
        await filled(world, own, wav)
        content = await exported(own)
        assert (await other.get("/v1/collections/bio/export")).status_code == 404
        taken = (await bring_back(other, content)).json()
        assert len(taken["jobs"]) == 2
        assert (await own.get(f"/v1/jobs/{taken['jobs'][0]['id']}")).status_code == 404
    async with world.client_for("key-reader") as reader:
        assert (await bring_back(reader, content)).status_code == 403


def zipped(entries: dict[str, bytes], **how: Any) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", how.get("compression", zipfile.ZIP_DEFLATED)) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return written.getvalue()


def manifest(**changes: Any) -> bytes:
    job = {
        "job_id": OLD_ID, "created_at": "2026-01-01T00:00:00Z", "request": {"features": ["raw_transcript", "index"]},
        "filename": "a.wav", "sha256": "0" * 64, "bytes": 4, "has_recording": False, "records": [],
    }  # fmt: skip
    whole = {"format": "rayscribe-collection", "version": 1, "collection": "bio", "jobs": [job | changes]}
    return json.dumps(whole).encode()


def bomb() -> bytes:
    return zipped({"manifest.json": manifest(), f"jobs/{OLD_ID}/prepare.json": b" " * 50_000_000})


def doubled() -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("manifest.json", manifest())
        archive.writestr("manifest.jsoM", manifest())
    return written.getvalue().replace(b"manifest.jsoM", b"manifest.json")


def encrypted() -> bytes:
    plain = bytearray(zipped({"manifest.json": manifest()}))
    plain[6] |= 1
    plain[plain.index(b"PK\x01\x02") + 8] |= 1
    return bytes(plain)


def lying() -> bytes:
    """The directory says that an entry is short; what is packed goes on."""
    whole = bytearray(zipped({"manifest.json": manifest() + b" " * 1_000}))
    place = whole.index(b"PK\x01\x02") + 24
    whole[place : place + 4] = (100).to_bytes(4, "little")
    return bytes(whole)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"no zip at all", 422),
        (zipped({}), 422),
        (zipped({"manifest.json": b"{}"}), 422),
        (zipped({"manifest.json": b"[" * 100_000}), 422),
        (zipped({"manifest.json": manifest(), "../../etc/passwd": b"x"}), 422),
        (zipped({"manifest.json": manifest(), f"jobs/{OLD_ID}/index.json/x": b"x"}), 422),
        (zipped({"manifest.json": manifest(records=["prepare.json", "transcribe.json"])}), 422),
        (zipped({"manifest.json": manifest(records=["../../other/1/result.json"])}), 422),
        (zipped({"manifest.json": manifest(request={"features": ["everything"]})}), 422),
        (zipped({"manifest.json": manifest(request={"features": 7})}), 422),
        (zipped({"manifest.json": manifest(sha256='"; evil')}), 422),
        (zipped({"manifest.json": manifest(has_recording=True)}), 422),
        (zipped({"manifest.json": manifest(records=["prepare.json"]), f"jobs/{OLD_ID}/prepare.json": b"{}"}), 422),
        (zipped({"manifest.json": manifest()}, compression=zipfile.ZIP_BZIP2), 422),
        (doubled(), 422),
        (encrypted(), 422),
        (lying(), 422),
        (zipped({"manifest.json": manifest()})[:-30], 422),
        (bomb(), 413),
    ],
)
async def test_files_that_are_none_leave_nothing(world: World, content: bytes, status: int) -> None:
    refused = await bring_back(world.client, content)

    assert (refused.status_code, refused.json()["error"]["param"]) == (status, "file"), refused.text
    assert world.stored == []
    assert (await world.client.get("/v1/jobs")).json()["data"] == []


async def test_a_recording_that_is_another_is_refused_before_anything_is_taken(world: World, wav: bytes) -> None:
    await filled(world, world.client, wav)
    spoilt: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(await exported(world.client))) as archive:
        for name in archive.namelist():
            spoilt[name] = archive.read(name)
    last = [name for name in spoilt if name.endswith("/recording")][-1]
    spoilt[last] = spoilt[last][:-1] + b"x"
    stored = world.stored

    refused = await bring_back(world.client, zipped(spoilt, compression=zipfile.ZIP_STORED), collection="other")

    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_field")
    assert world.stored == stored


async def test_more_than_the_limit_is_refused(build: BuildWorld, wav: bytes) -> None:
    full, narrow = await build(), await build(Settings(limits=LimitSettings(import_bytes=200_000, json_bytes=1)))
    await filled(full, full.client, wav)
    content = await exported(full.client)

    assert len(content) > 200_000
    assert (await bring_back(narrow.client, content)).status_code == 413
    assert narrow.stored == []
