from collections.abc import Iterator

import httpx
import pytest

from serve_app.client import RayScribeClient, RequestRefused, ServerUnreachable, StreamLost
from tests.client.standin import JOB_ID, StandIn, error, event, job, stream


@pytest.fixture
def server() -> StandIn:
    standin = StandIn()
    standin.streams.clear()
    return standin


@pytest.fixture
def client(server: StandIn) -> Iterator[RayScribeClient]:
    with RayScribeClient("http://server", transport=server.transport, sleep=server.sleep, patience_s=10.0) as client:
        yield client


def follow(client: RayScribeClient, after: int = -1) -> list[tuple[int, str]]:
    return [(found.id, found.type) for found in client.events(JOB_ID, after=after)]


def test_events_end_with_the_terminal_one(server: StandIn, client: RayScribeClient) -> None:
    server.streams.append(
        stream(
            event(0, "queued"),
            b": heartbeat\n\n",
            event(1, "stage", stage="transcribe", progress=0.4),
            event(2, "succeeded"),
        )
    )
    events = list(client.events(JOB_ID))
    assert [found.type for found in events] == ["queued", "stage", "succeeded"]
    assert events[1].data == {"stage": "transcribe", "progress": 0.4}
    assert "last-event-id" not in server.requests[0].headers
    assert server.slept == []


def test_broken_line_is_resumed_after_the_last_event_seen(server: StandIn, client: RayScribeClient) -> None:
    server.streams.append(stream(event(0, "queued"), event(1, "started"), b"id: 2\nevent: wind", broken=True))
    server.streams.append(stream(event(2, "window", start_s=0.0, text="hi"), event(3, "succeeded")))
    assert follow(client) == [(0, "queued"), (1, "started"), (2, "window"), (3, "succeeded")]
    assert server.requests[1].headers["last-event-id"] == "1"


def test_server_that_closes_early_is_asked_again(server: StandIn, client: RayScribeClient) -> None:
    server.streams.append(stream(event(0, "queued")))
    server.streams.append(stream(event(1, "failed", message="no")))
    assert follow(client) == [(0, "queued"), (1, "failed")]


def test_events_that_come_twice_are_shown_once(server: StandIn, client: RayScribeClient) -> None:
    server.streams.append(stream(event(0, "queued"), event(1, "started"), broken=True))
    server.streams.append(stream(event(0, "queued"), event(1, "started"), event(2, "cancelled")))
    assert follow(client) == [(0, "queued"), (1, "started"), (2, "cancelled")]


def test_unknown_events_are_passed_over(server: StandIn, client: RayScribeClient) -> None:
    server.streams.append(stream(event(0, "weather"), b"data: {}\n\n", event(1, "succeeded")))
    assert follow(client) == [(1, "succeeded")]


def test_caller_may_resume(server: StandIn, client: RayScribeClient) -> None:
    server.streams.append(stream(event(5, "succeeded")))
    assert follow(client, after=4) == [(5, "succeeded")]
    assert server.requests[0].headers["last-event-id"] == "4"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_server_that_restarts_is_waited_for(server: StandIn, client: RayScribeClient, status: int) -> None:
    server.streams.append(error(status, "overloaded", "later"))
    server.streams.append(stream(event(0, "succeeded")))
    assert follow(client) == [(0, "succeeded")]
    assert server.slept == [0.5]


def test_patience_ends(server: StandIn, client: RayScribeClient) -> None:
    server.streams.append(stream(event(0, "queued"), broken=True))
    with pytest.raises(StreamLost):
        follow(client)
    assert sum(server.slept) >= 10.0
    assert server.slept[0] == 0.5


def test_nobody_there_from_the_start(server: StandIn, client: RayScribeClient) -> None:
    with pytest.raises(ServerUnreachable):
        follow(client)


def test_progress_renews_patience(server: StandIn, client: RayScribeClient) -> None:
    for number in range(40):
        server.streams.append(stream(event(number, "window"), broken=True))
    server.streams.append(stream(event(40, "succeeded")))
    assert len(follow(client)) == 41


def test_refusal_is_not_retried(server: StandIn, client: RayScribeClient) -> None:
    server.streams.append(error(404, "not_found", "there is no such job"))
    with pytest.raises(RequestRefused, match="no such job"):
        follow(client)
    assert len(server.requests) == 1


def test_answer_that_is_no_event_stream_is_not_believed(server: StandIn, client: RayScribeClient) -> None:
    server.streams.append(httpx.Response(200, text="<html>log in</html>"))
    server.streams.append(stream(event(0, "succeeded")))
    assert follow(client) == [(0, "succeeded")]


def test_nothing_follows_the_end(server: StandIn, client: RayScribeClient) -> None:
    server.streams.append(httpx.Response(204))
    assert follow(client, after=5) == []
    assert len(server.requests) == 1
    assert server.slept == []


def test_end_on_a_server_that_knows_no_204(server: StandIn, client: RayScribeClient) -> None:
    server.streams.extend([stream(), stream()])
    assert follow(client, after=5) == []
    assert [request.url.path.rpartition("/")[2] for request in server.requests] == ["events", JOB_ID, "events"]
    assert server.slept == [0.5]


def test_job_that_ended_between_a_silent_stream_and_the_question_is_told(
    server: StandIn, client: RayScribeClient
) -> None:
    server.streams.extend([stream(), stream(event(6, "failed"))])
    assert follow(client, after=5) == [(6, "failed")]


def test_silence_of_a_job_under_way_is_waited_out(server: StandIn, client: RayScribeClient) -> None:
    server.jobs = [job(status="running")]
    server.streams.extend([stream() for _ in range(4)])
    server.streams.append(stream(event(6, "succeeded")))
    assert follow(client, after=5) == [(6, "succeeded")]


@pytest.mark.parametrize("busy", [error(503, "job_store_unavailable", "later"), httpx.ConnectError("gone")])
def test_end_that_cannot_be_asked_about_now_is_asked_about_later(
    server: StandIn, client: RayScribeClient, busy: httpx.Response | Exception
) -> None:
    server.replies.extend([stream(), busy])
    server.streams.append(httpx.Response(204))
    assert follow(client, after=5) == []


def test_job_that_was_erased_meanwhile(server: StandIn, client: RayScribeClient) -> None:
    server.replies.extend([stream(), error(404, "not_found", "there is no such job")])
    with pytest.raises(RequestRefused, match="no such job"):
        follow(client, after=5)


@pytest.mark.parametrize("data", ["{oops", "[]", "3"])
def test_event_whose_data_is_none_of_ours_is_passed_over(server: StandIn, client: RayScribeClient, data: str) -> None:
    server.streams.append(stream(f"id: 0\nevent: stage\ndata: {data}\n\n".encode(), event(1, "succeeded")))
    assert follow(client) == [(1, "succeeded")]
