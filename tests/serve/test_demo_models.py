"""The local profile as a newcomer starts it: the models that ship with the project, on a sample recording."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rapidfuzz.distance import Levenshtein

from serve_app.laptop.launch import LOCAL_CONFIG, serving
from tests.faults.talks import await_end

pytestmark = [pytest.mark.serve, pytest.mark.engines, pytest.mark.timeout(600)]

RECORDING = Path(__file__).parents[2] / "demo" / "recordings" / "project-meeting.ogg"
SCRIPT: dict[str, Any] = json.loads(RECORDING.with_suffix(".json").read_text())
HIGHEST_WORD_ERROR_RATE = 0.2
"""Whole recording, overlap included; the model card has the measured figure."""
LOWEST_SPEAKER_ACCURACY = 0.85
Finished = tuple[httpx.Client, dict[str, Any]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """The meeting as a job that has ended."""
    data = tmp_path_factory.mktemp("demo-models") / "data"
    with (
        serving(LOCAL_CONFIG, port=0, data=data) as application,
        httpx.Client(base_url=application.url, timeout=120.0) as client,
    ):
        form = {"features": "raw_transcript,diarization,index", "collection": "meetings"}
        response = client.post("/v1/jobs", files={"file": (RECORDING.name, RECORDING.read_bytes())}, data=form)
        assert response.status_code == 202, response.text
        yield client, await_end(application.url, response.json()["id"], patience_s=300.0)


def test_the_job_says_that_demo_models_ran(finished: Finished) -> None:
    _, job = finished
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert [job["versions"][part]["demo"] for part in ("asr", "diarizer")] == [True, True]
    assert job["versions"]["asr"]["fallback"] is not None


def test_most_words_are_right(finished: Finished) -> None:
    _, job = finished
    said = words(" ".join(segment["text"] for segment in SCRIPT["segments"]))
    heard = words(job["results"]["raw_transcript"])
    assert Levenshtein.distance(said, heard) / len(said) < HIGHEST_WORD_ERROR_RATE


def test_each_speaker_is_one_voice(finished: Finished) -> None:
    client, job = finished
    segments = client.get(f"/v1/jobs/{job['id']}/transcript").json()["segments"]
    together = Counter[tuple[str, str]]()
    for said in SCRIPT["segments"]:
        for heard in segments:
            overlap = min(said["end_s"], heard["end_s"]) - max(said["start_s"], heard["start_s"])
            together[said["speaker"], heard["speaker"]] += max(0.0, overlap)
    # Greedy, longest first: each name gets one voice and each voice one name.
    matched = dict[str, str]()
    for (name, voice), _ in together.most_common():
        if name not in matched and voice not in matched.values():
            matched[name] = voice
    assert len(matched) == len(SCRIPT["channels"])
    assert sum(together[pair] for pair in matched.items()) / together.total() > LOWEST_SPEAKER_ACCURACY


def test_questions_lead_to_their_moments(finished: Finished) -> None:
    client, _ = finished
    found = []
    for asked in SCRIPT["questions"]:
        body = {"query": asked["question"], "collection": "meetings", "top_k": 3}
        hits = client.post("/v1/search", json=body).json()["hits"]
        found.append(any(hit["start_s"] - 1 <= asked["start_s"] <= hit["end_s"] for hit in hits))
    assert sum(found) >= len(found) / 2


def test_a_citation_plays(finished: Finished) -> None:
    client, job = finished
    body = {"question": SCRIPT["questions"][0]["question"], "collections": ["meetings"]}
    answer = client.post("/v1/chat", json=body)
    assert answer.is_success, answer.text
    citation = answer.json()["citations"][0]
    assert (citation["job_id"], citation["recording"]) == (job["id"], RECORDING.name)
    assert 0 <= citation["start_s"] < citation["end_s"] <= SCRIPT["duration_s"] + 1
    sound = client.get(f"/v1/jobs/{job['id']}/audio", headers={"Range": "bytes=0-3"})
    assert (sound.status_code, sound.content) == (206, b"OggS")


def words(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return re.findall(r"[a-z0-9']+", text.lower())
