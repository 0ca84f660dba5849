"""The whole application on real Ray Serve over HTTP: all of it real but the models."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from pipelines.fakes.scripted_speech import Utterance, write_wav
from serve_app.laptop.launch import RunningApplication
from tests.serve.conftest import FOREIGN_COLLECTION, FOREIGN_TEXTS

pytestmark = pytest.mark.serve

UTTERANCES = [
    Utterance(start_s=1.0, end_s=8.0, text="Welcome to the meeting about the budget", speaker=0),
    Utterance(start_s=9.0, end_s=16.0, text="The deadline is next Friday", speaker=1),
    Utterance(start_s=40.0, end_s=47.0, text="Who will paint the warehouse", speaker=0),
]
WAV = write_wav(UTTERANCES)


def submit(client: httpx.Client, **fields: Any) -> str:
    """Submit the recording and return the job's id."""
    response = client.post("/v1/jobs", files={"file": ("meeting.wav", WAV, "audio/wav")}, data=fields)
    assert response.status_code == 202, response.text
    job_id: str = response.json()["id"]
    assert response.headers["location"] == f"/v1/jobs/{job_id}"
    return job_id


def events_of(client: httpx.Client, job_id: str, after: int | None = None) -> list[dict[str, Any]]:
    """Read the job's event stream to its end."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    events: list[dict[str, Any]] = []
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        event: dict[str, Any] = {}
        for line in response.iter_lines():
            name, _, value = line.partition(": ")
            if name == "data":
                event["data"] = json.loads(value)
            elif name in ("id", "event"):
                event[name] = value
            elif not line and "event" in event:
                events.append(event)
                event = {}
    return events


@pytest.fixture(scope="module")
def finished(fake_application: RunningApplication) -> Iterator[tuple[httpx.Client, str]]:
    """A job with every model feature, run to its end."""
    with httpx.Client(base_url=fake_application.url, timeout=60.0) as client:
        job_id = submit(client, features="raw_transcript,diarization,word_timestamps,index", collection="meetings")
        events_of(client, job_id)
        yield client, job_id


def test_a_job_ends_with_its_result(finished: tuple[httpx.Client, str]) -> None:
    client, job_id = finished
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert (job["status"], job["progress"], job["error"]) == ("succeeded", 1.0, None)
    assert job["results"]["raw_transcript"] == " ".join(utterance.text for utterance in UTTERANCES)
    assert job["results"]["speakers"] == ["SPEAKER_00", "SPEAKER_01"]
    assert job["versions"]["asr"]["model"] == "scripted"
    assert job["metrics"]["dropped_spans"] == []
    assert job["recording"]["duration_s"] == pytest.approx(47.5)


def test_events_tell_the_whole_story_once(finished: tuple[httpx.Client, str]) -> None:
    client, job_id = finished
    events = events_of(client, job_id)
    kinds = [event["event"] for event in events]
    assert (kinds[0], kinds[-1]) == ("queued", "succeeded")
    assert [kind for kind in kinds if kind in ("queued", "started", "succeeded")] == ["queued", "started", "succeeded"]
    assert {event["data"]["stage"] for event in events if event["event"] == "stage"} >= {"transcribe", "index"}
    said = " ".join(event["data"]["text"] for event in events if event["event"] == "window")
    assert "deadline is next Friday" in said


def test_an_event_stream_resumes_where_it_broke_off(finished: tuple[httpx.Client, str]) -> None:
    client, job_id = finished
    events = events_of(client, job_id)
    half = len(events) // 2
    assert events_of(client, job_id, after=int(events[half]["id"])) == events[half + 1 :]


@pytest.mark.parametrize(
    ("format_name", "expected"),
    [
        ("text", "The deadline is next Friday"),
        ("srt", "00:00:09,000 --> 00:00:16,000"),
        ("vtt", "WEBVTT"),
        ("md", r"**SPEAKER\_01** · 0:00:09"),
    ],
)
def test_transcripts_come_in_every_format(finished: tuple[httpx.Client, str], format_name: str, expected: str) -> None:
    client, job_id = finished
    response = client.get(f"/v1/jobs/{job_id}/transcript", params={"format": format_name})
    assert response.status_code == 200
    assert expected in response.text


def test_the_json_transcript_has_speakers_and_words(finished: tuple[httpx.Client, str]) -> None:
    client, job_id = finished
    transcript = client.get(f"/v1/jobs/{job_id}/transcript").json()
    assert [segment["speaker"] for segment in transcript["segments"]] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"]
    assert [word["text"] for word in transcript["segments"][1]["words"]] == ["The", "deadline", "is", "next", "Friday"]


def test_search_finds_the_moment(finished: tuple[httpx.Client, str]) -> None:
    client, job_id = finished
    for mode in ("hybrid", "dense", "sparse"):
        body = {"query": "who will paint the warehouse", "collection": "meetings", "mode": mode}
        hits = client.post("/v1/search", json=body).json()["hits"]
        assert "warehouse" in hits[0]["text"], mode
        assert hits[0]["job_id"] == job_id
        assert hits[0]["start_s"] <= 40.0 < hits[0]["end_s"]


def test_work_in_the_background_gives_what_a_client_that_waits_gets(finished: tuple[httpx.Client, str]) -> None:
    client, _ = finished
    asked = {
        "chat": ("/v1/chat", {"question": "who will paint the warehouse", "collection": "meetings"}),
        "summarize": (
            "/v1/text/summarize",
            {"text": " ".join(utterance.text for utterance in UTTERANCES), "template_id": "meeting_notes_v1"},
        ),
    }
    jobs = {name: client.post(path, json={**body, "background": True}) for name, (path, body) in asked.items()}
    for name, (path, body) in asked.items():
        assert jobs[name].status_code == 202, jobs[name].text
        link = jobs[name].headers["location"]
        kinds = [event["event"] for event in events_of(client, link.rsplit("/", 1)[1])]
        assert (kinds[0], kinds[-1]) == ("queued", "succeeded")
        job, at_once = client.get(link).json(), client.post(path, json=body).json()
        assert job["degraded"] == at_once["degraded"] != []
        if name == "chat":
            assert "warehouse" in job["results"]["chat"]["citations"][0]["quote"]
            assert {**at_once, **job["results"]["chat"]} == at_once
        else:
            assert job["results"][name] == at_once["result"]
            assert job["versions"]["llm"][name] == at_once["versions"]


def test_a_collection_of_another_model_is_refused_and_can_be_moved(client: httpx.Client) -> None:
    question = {"query": "when is the warehouse painted", "collection": FOREIGN_COLLECTION}
    refused = client.post("/v1/search", json=question)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "embedder_mismatch")
    assert "vectors of foreign, not of bag-of-words" in refused.json()["error"]["message"]
    accepted = client.post(f"/v1/collections/{FOREIGN_COLLECTION}/reindex")
    assert accepted.status_code == 202, accepted.text
    events = events_of(client, accepted.json()["id"])
    assert [event["event"] for event in events] == ["queued", "started", "stage", "stage", "succeeded"]
    job = client.get(accepted.headers["location"]).json()
    moved = {"collection": FOREIGN_COLLECTION, "passages": len(FOREIGN_TEXTS), "embedder": "bag-of-words"}
    assert job["results"]["reindex"] == moved
    assert "warehouse" in client.post("/v1/search", json=question).json()["hits"][0]["text"]
    assert client.get(f"/v1/collections/{FOREIGN_COLLECTION}").json()["embedder"] == "bag-of-words"


def test_the_recording_can_be_played_from_a_citation(finished: tuple[httpx.Client, str]) -> None:
    client, job_id = finished
    response = client.get(f"/v1/jobs/{job_id}/audio", headers={"Range": "bytes=44-143"})
    assert (response.status_code, response.content) == (206, WAV[44:144])
    assert response.headers["content-range"] == f"bytes 44-143/{len(WAV)}"


def test_the_openai_package_transcribes_against_it(fake_application: RunningApplication) -> None:
    with openai.OpenAI(base_url=f"{fake_application.url}/v1", api_key="none") as client:
        answer = client.audio.transcriptions.create(file=("clip.wav", WAV), model="whisper-1")
    assert answer.text == " ".join(utterance.text for utterance in UTTERANCES)


def test_health_and_models_name_what_runs(client: httpx.Client) -> None:
    assert client.get("/health/ready").status_code == 200
    detailed = client.get("/health/detailed").json()
    assert {"Transcriber", "JobRunner"} <= {deployment["name"] for deployment in detailed["deployments"]}
    models = client.get("/v1/models").json()
    assert any(model["name"] == "scripted" for model in models["models"])


def _stored_files(application: RunningApplication) -> list[Path]:
    """Files of the artifact store; its folders come with the first upload, whichever test sends that."""
    return sorted(path for path in (application.data_folder / "artifacts").rglob("*") if path.is_file())


def test_rubbish_is_refused_and_leaves_nothing_behind(
    client: httpx.Client, fake_application: RunningApplication
) -> None:
    before = _stored_files(fake_application)
    response = client.post("/v1/jobs", files={"file": ("notes.wav", b"these are not samples" * 50, "audio/wav")})
    assert response.status_code == 415
    assert response.json()["error"]["code"] == "unsupported_media"
    assert _stored_files(fake_application) == before


def test_an_unknown_job_is_not_found(client: httpx.Client) -> None:
    response = client.get("/v1/jobs/01920000-0000-7000-8000-000000000000")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
