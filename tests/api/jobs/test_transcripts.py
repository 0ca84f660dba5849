import pytest

from tests.api.conftest import BuildWorld, World
from tests.api.jobs.test_jobs import ended, submitted


async def test_json_has_every_key_of_the_contract(world: World, wav: bytes) -> None:
    job = await submitted(world.client, wav, features="diarization,word_timestamps")
    await ended(world.client, job)

    body = (await world.client.get(job["links"]["transcript"])).json()

    assert (body["language"], body["duration_s"]) == ("en", 4.5)
    first = body["segments"][0]
    assert set(first) == {"id", "start_s", "end_s", "speaker", "text", "confidence", "words", "language"}
    assert (first["id"], first["speaker"], first["text"]) == (0, "SPEAKER_00", "the exam is in june")
    assert set(first["words"][0]) == {"text", "start_s", "end_s", "speaker", "confidence", "aligned"}


@pytest.mark.parametrize(
    ("form", "media_type", "beginning"),
    [
        ("text", "text/plain", "SPEAKER_00: the exam is in june\n"),
        ("srt", "application/x-subrip", "1\n00:00:00,500 --> 00:00:02,000\nSPEAKER_00: the exam"),
        ("vtt", "text/vtt", "WEBVTT\n\n00:00:00.500 --> 00:00:02.000\n<v SPEAKER_00>the exam"),
        ("md", "text/markdown", "**SPEAKER"),
        ("rttm", "text/plain", "SPEAKER lecture 1 0.500 1.500 <NA> <NA> SPEAKER_00 <NA> <NA>\n"),
        ("stm", "text/plain", "lecture 1 SPEAKER_00 0.500 2.000 the exam is in june\n"),
        ("ctm", "text/plain", "lecture 1 0.500 "),
    ],
)
async def test_files(world: World, wav: bytes, form: str, media_type: str, beginning: str) -> None:
    job = await submitted(world.client, wav, features="diarization")
    await ended(world.client, job)

    response = await world.client.get(job["links"]["transcript"], params={"format": form})

    assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert response.text.startswith(beginning)


async def test_files_for_other_tools_bear_the_recordings_name(world: World, wav: bytes) -> None:
    job = await submitted(world.client, wav, features="diarization")
    await ended(world.client, job)

    document = await world.client.get(job["links"]["transcript"], params={"format": "docx"})
    entries = await world.client.get(job["links"]["transcript"], params={"format": "seglst"})

    assert document.headers["content-disposition"] == "attachment; filename*=UTF-8''lecture.docx"
    assert document.headers["content-type"].endswith("wordprocessingml.document")
    assert document.content.startswith(b"PK")
    assert [entry["speaker"] for entry in entries.json()] == ["SPEAKER_00", "SPEAKER_01"]


async def test_a_format_that_is_none(world: World, wav: bytes) -> None:
    job = await submitted(world.client, wav)

    response = await world.client.get(job["links"]["transcript"], params={"format": "pdf"})

    assert (response.status_code, response.json()["error"]["param"]) == (422, "format")


async def test_before_there_is_one(build: BuildWorld, wav: bytes) -> None:
    world = await build(run_jobs=False)
    job = await submitted(world.client, wav)

    response = await world.client.get(job["links"]["transcript"])

    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
    assert response.headers["x-should-retry"] == "false"


async def test_every_second_is_accounted_for(world: World, wav: bytes) -> None:
    job = await submitted(world.client, wav, features="word_timestamps")
    await ended(world.client, job)

    body = (await world.client.get(f"{job['links']['self']}/coverage")).json()

    assert set(body) == {"duration_s", "spans", "totals"}
    assert set(body["spans"][0]) == {"start_s", "end_s", "kind", "reason"}
    assert (body["spans"][0]["start_s"], body["spans"][-1]["end_s"]) == (0.0, 4.5)
    assert body["totals"]["text"] > 1.0
    assert sum(body["totals"].values()) == pytest.approx(4.5)


async def test_no_ledger_before_there_is_a_transcript(build: BuildWorld, wav: bytes) -> None:
    world = await build(run_jobs=False)
    job = await submitted(world.client, wav)

    response = await world.client.get(f"{job['links']['self']}/coverage")

    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
