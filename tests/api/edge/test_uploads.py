"""POST /v1/jobs: what comes in, what is refused, and that nothing is left behind."""

import hashlib
import json
from typing import Any

import pytest

from tests.api.conftest import World
from tests.api.forms import BOUNDARY, FORM, form, submit


async def test_a_recording_becomes_an_acknowledged_job(idle: World, wav: bytes) -> None:
    response = await submit(idle, wav, features="raw_transcript")

    assert response.status_code == 202, response.text
    job = response.json()
    assert response.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["queue_position"], job["progress"]) == ("queued", 1, 0.0)
    assert job["recording"]["sha256"] == hashlib.sha256(wav).hexdigest()
    assert (job["recording"]["filename"], job["recording"]["bytes"]) == ("lecture.wav", len(wav))
    [artifact] = idle.stored
    assert artifact.startswith(f"default/{job['id']}/")
    assert await idle.artifacts.read(artifact) == wav


async def test_the_body_of_a_job_has_every_key_of_the_contract(idle: World, wav: bytes) -> None:
    job = (await submit(idle, wav)).json()

    assert set(job) >= {
        "id", "object", "status", "stage", "progress", "queue_position", "features", "collection", "template_id",
        "priority",
        "recording", "created_at", "started_at", "finished_at", "attempts", "error", "results", "versions", "metrics",
        "degraded", "links",
    }  # fmt: skip
    assert set(job["recording"]) == {
        "filename", "sha256", "bytes", "duration_s", "duration_estimated", "container", "codec", "channels",
        "sample_rate_hz",
    }  # fmt: skip
    assert set(job["results"]) == {
        "raw_transcript", "clean_transcript", "summary", "translation", "entities", "classification", "quality",
        "language", "speakers",
    }  # fmt: skip
    assert set(job["metrics"]) >= {
        "input_duration_s", "processing_s", "rtf", "stage_s", "vad_coverage", "asr_confidence_avg",
        "edit_rate_cleaning", "dropped_spans",
    }  # fmt: skip
    assert set(job["links"]) == {"self", "events", "transcript", "audio"}
    assert job["created_at"].endswith("Z")


async def test_every_field_arrives(idle: World, wav: bytes) -> None:
    fields: dict[str, Any] = {
        "features": ["raw_transcript,diarization", "index"], "collection": "biology-101", "language": "en",
        "priority": "high", "min_speakers": "1", "max_speakers": "3", "prompt": "Krebs cycle", "labels": "a, b,a",
        "metadata": json.dumps({"week": "3"}), "asr_backend": "",
    }  # fmt: skip

    response = await submit(idle, wav, **fields)

    assert response.status_code == 202, response.text
    request = (await idle.jobs.get("default", response.json()["id"])).request
    assert list(request.features) == ["raw_transcript", "diarization", "index"]
    assert (request.collection, request.language, request.priority) == ("biology-101", "en", "high")
    assert (request.num_speakers, request.min_speakers, request.max_speakers) == (None, 1, 3)
    assert (request.prompt, request.labels, request.metadata) == ("Krebs cycle", ("a", "b"), {"week": "3"})
    assert request.asr_backend is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"features": "telepathy"}, "features"),
        ({"features": ","}, "features"),
        ({"features": "index"}, "collection"),
        ({"priority": "urgent"}, "priority"),
        ({"num_speakers": "two"}, "num_speakers"),
        ({"num_speakers": "0"}, "num_speakers"),
        ({"num_speakers": "1.5"}, "num_speakers"),
        ({"num_speakers": "9" * 5_000}, "num_speakers"),
        ({"min_speakers": "3", "max_speakers": "2"}, "min_speakers"),
        ({"num_speakers": "3", "max_speakers": "3"}, "num_speakers"),
        ({"collection": "../other"}, "collection"),
        ({"collection": "a/b"}, "collection"),
        ({"collection": "x" * 65}, "collection"),
        ({"collection": "a\nb"}, "collection"),
        ({"collection": "a\n"}, "collection"),
        ({"language": "english"}, "language"),
        ({"language": "EN"}, "language"),
        ({"template_id": "meeting_notes_v1"}, "template_id"),
        ({"metadata": "[1]"}, "metadata"),
        ({"metadata": '{"a": 1}'}, "metadata"),
        ({"metadata": "{"}, "metadata"),
        ({"metadata": "[" * 60_000}, "metadata"),
        ({"metadata": '{"a": "\\ud800"}'}, "metadata"),
        ({"prompt": "x" * 2_001}, "prompt"),
        ({"unknown": "1"}, "unknown"),
        ({"tenant": "other"}, "tenant"),
        ({"priority": ["high", "low"]}, "priority"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_stays(
    idle: World, wav: bytes, fields: dict[str, Any], param: str
) -> None:
    response = await submit(idle, wav, **fields)

    assert response.status_code == 422, response.text
    assert response.json()["error"]["param"] == param
    assert response.json()["error"]["code"] == "invalid_field"
    assert idle.stored == []


@pytest.mark.parametrize("name", ["redact"])
async def test_what_is_not_built_yet_is_refused_not_ignored(idle: World, wav: bytes, name: str) -> None:
    response = await submit(idle, wav, **{name: "x"})

    assert (response.status_code, response.json()["error"]["code"]) == (422, "not_available")
    assert response.json()["error"]["param"] == name


async def test_a_feature_that_is_not_offered_here_is_refused(idle: World, wav: bytes) -> None:
    response = await submit(idle, wav, features="summary", template_id="meeting_notes_v1")

    assert (response.status_code, response.json()["error"]["code"]) == (422, "not_available")
    assert idle.stored == []


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 415, "unsupported_media"),
        (b"this is text, whatever its name says", 415, "unsupported_media"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", 415, None),
    ],
)
async def test_what_is_no_recording_is_refused(idle: World, content: bytes, status: int, code: str | None) -> None:
    response = await submit(idle, content)

    assert response.status_code == status, response.text
    assert code in (None, response.json()["error"]["code"])
    assert idle.stored == []


async def test_too_little_audio_is_refused(idle: World) -> None:
    from pipelines.fakes.scripted_speech import write_wav

    response = await submit(idle, write_wav((), duration_s=0.5))

    assert (response.status_code, response.json()["error"]["code"]) == (422, "audio_too_short")
    assert idle.stored == []


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'{"url": "http://example.org/a.wav"}', {"content-type": "application/json"}, 422),
        (b"--xyz--\r\n", {"content-type": "text/plain"}, 415),
        (b"rubbish", {}, 415),
        (b"rubbish", FORM, 400),
        (b"", FORM, 400),
        (b"", {"content-type": "multipart/form-data"}, 400),
        (form(b"x" * 100)[:-20], FORM, 400),
    ],
)
async def test_bodies_that_are_no_form(idle: World, content: bytes, headers: dict[str, str], status: int) -> None:
    response = await idle.client.post("/v1/jobs", content=content, headers=headers)

    assert response.status_code == status, response.text
    assert idle.stored == []


async def test_an_unbuilt_header_is_refused(idle: World, wav: bytes) -> None:
    response = await idle.client.post("/v1/jobs", files={"file": wav}, headers={"X-Webhook-Secret": "s"})

    assert response.json()["error"]["code"] == "not_available"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\talk.wav", "talk.wav"),
        ("a\x00b\x1b[31m.wav", "ab[31m.wav"),
        ("Vorträge – 講義.wav", "Vorträge – 講義.wav"),
        ("x" * 400, "x" * 255),
        ("/", "recording"),
        ("..", ".."),
    ],
)
async def test_a_file_name_is_for_people_and_never_part_of_a_path(
    idle: World, wav: bytes, sent: str, shown: str
) -> None:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{sent}"\r\n\r\n'
    body = head.encode() + wav + f"\r\n--{BOUNDARY}--\r\n".encode()

    response = await idle.client.post("/v1/jobs", content=body, headers=FORM)

    if response.status_code == 400:
        # A control character in a header: the parser itself refuses it.
        assert "\x00" in sent
        return
    assert response.json()["recording"]["filename"] == shown
    [artifact] = idle.stored
    assert artifact.endswith("/recording")
