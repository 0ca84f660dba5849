import contextlib
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.client import (
    FileUnreadable,
    NotRayScribe,
    NotSendable,
    RayScribeClient,
    RequestRefused,
    ServerUnreachable,
)
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


Call = Callable[[RayScribeClient, str], Any]
CALLS: dict[str, Call] = {
    "job": RayScribeClient.job,
    "events": lambda client, job_id: list(client.events(job_id)),
    "transcript": RayScribeClient.transcript,
    "transcript_text": lambda client, job_id: client.transcript_text(job_id, "srt"),
    "cancel": RayScribeClient.cancel,
    "erase": RayScribeClient.erase,
    "retry": RayScribeClient.retry,
    "health": RayScribeClient.health,
}


class TestWhatIsGivenStaysWhatItIs:
    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    @pytest.mark.parametrize("given", ["", ".", "..", "../collections/bio", "a/b", "/"])
    def test_an_id_that_is_another_path_is_not_sent(
        self, server: StandIn, client: RayScribeClient, call: Call, given: str
    ) -> None:
        with pytest.raises(NotSendable, match="is no id"):
            call(client, given)
        assert server.requests == []

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    @pytest.mark.parametrize(
        ("given", "sent"),
        [
            (f"{JOB_ID}?erase=true", f"{JOB_ID}%3Ferase%3Dtrue"),
            (f"{JOB_ID}#", f"{JOB_ID}%23"),
            ("a b", "a%20b"),
            ("%2e%2e", "%252e%252e"),
            ("\udcff", "%ED%B3%BF"),
        ],
    )
    def test_an_id_is_one_segment_of_the_path(
        self, server: StandIn, client: RayScribeClient, call: Call, given: str, sent: str
    ) -> None:
        server.replies.append(error(404, "not_found", "there is no such job"))
        with contextlib.suppress(RequestRefused):
            call(client, given)
        path, _, query = server.requests[0].url.raw_path.decode().partition("?")
        assert sent in path.split("/")
        assert query in ("", "format=json", "format=srt", "erase=true")
        assert (query == "erase=true") == (call is RayScribeClient.erase)

    @pytest.mark.parametrize(
        "address",
        ["", "localhost:8000", "http://", "http://host:port", "http://[::1", "ftp://host", "\udcff"],
    )
    def test_an_address_that_is_none(self, address: str) -> None:
        with pytest.raises(NotSendable, match="is no address of a server"):
            RayScribeClient(address)

    @pytest.mark.parametrize(
        ("key", "sent"),
        [
            ("schlüssel", b"schl\xc3\xbcssel"),
            ("schl\udcfcssel", b"schl\xfcssel"),
            ("secret\n", b"secret"),
        ],
    )
    def test_a_key_is_sent_as_the_bytes_that_were_hashed(self, server: StandIn, key: str, sent: bytes) -> None:
        with RayScribeClient("http://server", api_key=key, transport=server.transport) as client:
            client.jobs()
        assert (b"authorization", b"Bearer " + sent) in [
            (name.lower(), value) for name, value in server.requests[0].headers.raw
        ]

    def test_a_key_that_no_header_carries_is_not_shown_either(self) -> None:
        with pytest.raises(NotSendable, match="control character") as refused:
            RayScribeClient("http://server", api_key="se\r\ncret")
        assert "cret" not in str(refused.value)

    @pytest.mark.parametrize("key", ["", "schlüssel", "a b", "x" * 256])
    def test_an_idempotency_key_that_is_none(
        self, server: StandIn, client: RayScribeClient, recording: Path, key: str
    ) -> None:
        with pytest.raises(NotSendable, match="visible ASCII"):
            client.submit(recording, {}, idempotency_key=key)
        assert server.requests == []

    def test_a_file_name_that_is_no_text_is_sent_as_well_as_it_can_be(
        self, server: StandIn, client: RayScribeClient, tmp_path: Path
    ) -> None:
        file = tmp_path / os.fsdecode(b"M\xfcller.wav")
        file.write_bytes(b"RIFF")
        client.submit(file, {})
        assert 'filename="M\ufffdller.wav"'.encode() in server.bodies[0]

    def test_a_file_that_cannot_be_read(self, server: StandIn, client: RayScribeClient, tmp_path: Path) -> None:
        with pytest.raises(FileUnreadable, match="cannot be read: No such file"):
            client.submit(tmp_path / "gone.wav", {})
        assert server.requests == []

    def test_a_question_that_is_no_text(self, server: StandIn, client: RayScribeClient) -> None:
        with pytest.raises(NotSendable, match="UTF-8"):
            client.search("\udcff", ["talks"])
        assert server.requests == []


ANSWERED: dict[str, Call] = {
    **{name: call for name, call in CALLS.items() if name not in ("health", "events", "erase", "transcript_text")},
    "jobs": lambda client, _: client.jobs(),
    "search": lambda client, _: client.search("exam", ["talks"]),
    "chat": lambda client, _: client.chat("exam?", ["talks"]),
    "models": lambda client, _: client.models(),
}


class TestAnotherServer:
    @pytest.mark.parametrize("call", ANSWERED.values(), ids=ANSWERED)
    @pytest.mark.parametrize(
        "body", [b"<html>hi</html>", b"{}", b"[]", b"null", b"", b"\xff", b'{"data": [{}], "models": {}}']
    )
    def test_is_told_apart(self, server: StandIn, client: RayScribeClient, call: Call, body: bytes) -> None:
        server.replies.append(httpx.Response(200, content=body))
        with pytest.raises(NotRayScribe, match="http://server is not a RayScribe server"):
            call(client, JOB_ID)
        assert len(server.requests) == 1

    def test_that_compresses_what_is_not_compressed(self, server: StandIn, client: RayScribeClient) -> None:
        server.replies.append(
            httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"<html>"))
        )
        with pytest.raises(NotRayScribe):
            client.jobs()

    @pytest.mark.parametrize("headers", [{}, {"content-type": "text/html; charset=utf-8"}])
    def test_has_written_no_transcript(self, server: StandIn, client: RayScribeClient, headers: dict[str, str]) -> None:
        server.replies.append(httpx.Response(200, content=b"<html>hi</html>", headers=headers))
        with pytest.raises(NotRayScribe):
            client.transcript_text(JOB_ID, "srt")

    def test_has_erased_nothing(self, server: StandIn, client: RayScribeClient) -> None:
        server.replies.append(httpx.Response(200, text="<html>hi</html>"))
        with pytest.raises(NotRayScribe):
            client.erase(JOB_ID)
