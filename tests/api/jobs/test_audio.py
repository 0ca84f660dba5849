from typing import Any

import httpx
import pytest

from tests.api.conftest import BuildWorld, World, listening
from tests.api.jobs.test_jobs import submitted


@pytest.fixture
async def job(build: BuildWorld, wav: bytes) -> tuple[World, Any]:
    world = await build(run_jobs=False)
    return world, await submitted(world.client, wav)


async def get(job: tuple[World, Any], **headers: str) -> httpx.Response:
    world, body = job
    return await world.client.get(body["links"]["audio"], headers=headers)


async def test_the_whole_recording(job: tuple[World, Any], wav: bytes) -> None:
    response = await get(job)

    assert (response.status_code, response.content) == (200, wav)
    assert response.headers["content-type"] == "audio/wav"
    assert response.headers["content-length"] == str(len(wav))
    assert response.headers["etag"] == f'"{job[1]["recording"]["sha256"]}"'
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("header", "part"),
    [("bytes=0-99", slice(0, 100)), ("bytes=1000-", slice(1000, None)), ("bytes=-50", slice(-50, None))],
)
async def test_a_range(job: tuple[World, Any], wav: bytes, header: str, part: slice) -> None:
    response = await get(job, Range=header)

    assert (response.status_code, response.content) == (206, wav[part])
    start = len(wav[: part.start])
    assert response.headers["content-range"] == f"bytes {start}-{start + len(wav[part]) - 1}/{len(wav)}"


async def test_a_range_outside(job: tuple[World, Any], wav: bytes) -> None:
    response = await get(job, Range=f"bytes={len(wav)}-")

    assert (response.status_code, response.headers["content-range"]) == (416, f"bytes */{len(wav)}")
    assert response.json()["error"]["code"] == "range_not_satisfiable"
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("header", ["bytes=x", "lines=1-2", "bytes=0-1,4-5", "bytes=9-3"])
async def test_a_header_that_is_no_range_gives_everything(job: tuple[World, Any], wav: bytes, header: str) -> None:
    response = await get(job, Range=header)

    assert (response.status_code, len(response.content)) == (200, len(wav))


async def test_a_range_of_another_version_gives_everything(job: tuple[World, Any]) -> None:
    etag = f'"{job[1]["recording"]["sha256"]}"'

    assert (await get(job, Range="bytes=0-9", **{"If-Range": etag})).status_code == 206
    assert (await get(job, Range="bytes=0-9", **{"If-Range": '"other"'})).status_code == 200


async def test_what_the_client_holds_is_not_sent_again(job: tuple[World, Any]) -> None:
    etag = f'"{job[1]["recording"]["sha256"]}"'

    response = await get(job, **{"If-None-Match": f'"a", {etag}'})

    assert (response.status_code, response.content) == (304, b"")


@pytest.mark.parametrize(
    ("filename", "media_type"),
    [("a.mp3", "audio/mpeg"), ("a.HTML", "application/octet-stream"), ("a", "application/octet-stream")],
)
async def test_the_type_is_never_one_that_a_browser_runs(
    build: BuildWorld, wav: bytes, filename: str, media_type: str
) -> None:
    world = await build(run_jobs=False)
    response = await world.client.post("/v1/jobs", files={"file": (filename, wav, "text/html")})

    audio = await world.client.get(response.json()["links"]["audio"])

    assert audio.headers["content-type"] == media_type
    assert audio.headers["content-disposition"] == f"inline; filename*=UTF-8''{filename}"


async def test_a_recording_that_is_gone(job: tuple[World, Any]) -> None:
    world, body = job
    await world.artifacts.delete_tree(f"default/{body['id']}")

    assert (await get(job)).status_code == 404


async def test_over_a_real_server(job: tuple[World, Any], wav: bytes) -> None:
    world, body = job
    async with listening(world.app) as address, httpx.AsyncClient(base_url=address) as client:
        whole = await client.get(body["links"]["audio"])
        part = await client.get(body["links"]["audio"], headers={"Range": "bytes=44-1043"})
        head = await client.head(body["links"]["audio"])

    assert whole.content == wav
    assert (part.status_code, part.content) == (206, wav[44:1044])
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(wav)))


async def test_peaks_are_measured_once(job: tuple[World, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    world, body = job
    address = f"{body['links']['self']}/waveform"
    first = await world.client.get(address)
    assert (first.status_code, first.json()["duration_s"], len(first.json()["peaks"])) == (200, 4.5, 450)
    assert max(first.json()["peaks"]) > min(first.json()["peaks"])
    monkeypatch.setattr(world.services.reader, "waveform", None)
    assert (await world.client.get(address)).json() == first.json()


async def test_what_is_gone_has_no_peaks(job: tuple[World, Any]) -> None:
    world, body = job
    await world.artifacts.delete_tree(f"default/{body['id']}")
    response = await world.client.get(f"{body['links']['self']}/waveform")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
