import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serve_app.client import RayScribeClient, RequestRefused, ServerUnreachable
from tests.client.standin import JOB_ID, StandIn, error, job


@pytest.fixture
def server() -> StandIn:
    return StandIn()


@pytest.fixture
def client(server: StandIn) -> Iterator[RayScribeClient]:
    with RayScribeClient("http://server", api_key="secret", transport=server.transport, sleep=server.sleep) as client:
        yield client


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "talk.wav"
    file.write_bytes(b"RIFF" + bytes(200_000))
    return file


def test_upload_sends_file_and_fields_and_reports_every_byte(
    server: StandIn, client: RayScribeClient, recording: Path
) -> None:
    sent: list[tuple[int, int]] = []
    accepted = client.submit(
        recording,
        {"features": ["diarization", "index"], "collection": "talks", "num_speakers": 2},
        idempotency_key="once",
        on_sent=lambda done, total: sent.append((done, total)),
    )
    assert accepted["id"] == JOB_ID
    assert sent[-1] == (200_004, 200_004)
    assert len(sent) > 2, "progress comes while the file is being sent, not only at its end"
    request, body = server.requests[0], server.bodies[0]
    assert request.headers["idempotency-key"] == "once"
    assert request.headers["authorization"] == "Bearer secret"
    assert int(request.headers["content-length"]) == len(body)
    for part in (
        b'name="features"\r\n\r\ndiarization',
        b'name="features"\r\n\r\nindex',
        b'name="num_speakers"\r\n\r\n2',
    ):
        assert part in body
    assert b'filename="talk.wav"' in body
    assert recording.read_bytes() in body


def test_busy_server_is_asked_again_when_it_said_and_the_whole_file_is_sent_again(
    server: StandIn, client: RayScribeClient, recording: Path
) -> None:
    server.replies.append(error(429, "queue_full", "too many jobs", headers={"Retry-After": "7"}))
    server.replies.append(error(503, "job_store_unavailable", "the database is locked"))
    client.submit(recording, {}, on_sent=lambda done, total: None)
    assert server.slept == [7.0, 2.0]
    assert len(server.bodies) == 3
    assert all(recording.read_bytes() in body for body in server.bodies)


def test_server_that_stays_busy_is_given_up(server: StandIn, client: RayScribeClient) -> None:
    server.replies.extend(error(429, "queue_full", "too many jobs") for _ in range(4))
    with pytest.raises(RequestRefused) as caught:
        client.job(JOB_ID)
    assert caught.value.busy
    assert server.slept == [1.0, 2.0, 4.0]


def test_long_retry_after_is_capped(server: StandIn, client: RayScribeClient) -> None:
    server.replies.append(error(429, "queue_full", "too many jobs", headers={"Retry-After": "3600"}))
    client.job(JOB_ID)
    assert server.slept == [30.0]


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 415, 422, 500])
def test_other_refusals_are_not_repeated(server: StandIn, client: RayScribeClient, status: int) -> None:
    server.replies.append(error(status, "some_code", "no"))
    with pytest.raises(RequestRefused, match="no") as caught:
        client.job(JOB_ID)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (status, "some_code", "r-1")
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"[]", b'{"error": "x"}', b'{"detail": 1}', b""])
def test_error_body_of_something_in_between_is_survived(server: StandIn, client: RayScribeClient, body: bytes) -> None:
    server.replies.append(httpx.Response(502, content=body))
    with pytest.raises(RequestRefused) as caught:
        client.job(JOB_ID)
    assert caught.value.status == 502
    assert caught.value.message


def test_nobody_there(server: StandIn, client: RayScribeClient) -> None:
    server.replies.append(httpx.ConnectError("connection refused"))
    with pytest.raises(ServerUnreachable, match="http://server: connection refused"):
        client.job(JOB_ID)


def test_list_follows_cursors_up_to_the_limit(server: StandIn, client: RayScribeClient) -> None:
    server.jobs = [job(id=str(number)) for number in range(9)]
    assert [found["id"] for found in client.jobs(limit=5, status="succeeded")] == ["0", "1", "2", "3", "4"]
    assert server.requests[0].url.params["status"] == "succeeded"
    assert "collection" not in server.requests[0].url.params


def test_search_sends_its_options(server: StandIn, client: RayScribeClient) -> None:
    found = client.search("exam", ["talks"], top_k=3)
    assert found["hits"][0]["text"] == "The exam is on Friday."
    assert json.loads(server.bodies[0]) == {"query": "exam", "collections": ["talks"], "top_k": 3}


def test_transcript_comes_in_each_format(client: RayScribeClient) -> None:
    assert client.transcript_text(JOB_ID, "srt") == "as srt\n"
    assert client.transcript(JOB_ID)["segments"][1]["text"] == "Hello."


def test_health_is_reported_whatever_it_says(server: StandIn, client: RayScribeClient) -> None:
    assert client.health("ready") == (503, {"status": "starting"})
    server.replies.append(httpx.Response(500, text="oops"))
    assert client.health("ready") == (500, {})


def test_erase_and_retry(server: StandIn, client: RayScribeClient) -> None:
    client.erase(JOB_ID)
    assert client.retry(JOB_ID)["status"] == "queued"
    assert server.requests[0].url.params["erase"] == "true"


def test_errors_cross_process_borders() -> None:
    refused = RequestRefused("no", 429, "queue_full", None, "r-1", 3.0)
    restored = pickle.loads(pickle.dumps(refused))
    assert (str(restored), restored.status, restored.retry_after_s, restored.busy) == ("no", 429, 3.0, True)
