"""A server that fits into a test: answers the client's routes from a script, over httpx's mock transport."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import httpx

JOB_ID = "0192f0a0-0000-7000-8000-000000000001"

Route = Callable[[httpx.Request], httpx.Response]


def job(**changes: Any) -> dict[str, Any]:
    """Return the body of a succeeded job, with changes."""
    body = {
        "id": JOB_ID,
        "object": "job",
        "status": "succeeded",
        "stage": None,
        "progress": 1.0,
        "queue_position": None,
        "features": ["raw_transcript"],
        "collection": None,
        "recording": {"filename": "talk.wav", "bytes": 4, "duration_s": 12.0},
        "created_at": "2026-11-20T10:00:00Z",
        "started_at": "2026-11-20T10:00:01Z",
        "finished_at": "2026-11-20T10:00:03Z",
        "error": None,
        "results": {},
        "versions": {},
        "metrics": {},
        "degraded": [],
    }
    return body | changes


TRANSCRIPT = {
    "language": "en",
    "duration_s": 12.0,
    "segments": [
        {"id": 0, "start_s": 1.2, "end_s": 4.9, "speaker": "SPEAKER_00", "text": "Good morning.", "confidence": 0.9},
        {"id": 1, "start_s": 65.0, "end_s": 66.0, "speaker": "SPEAKER_01", "text": "Hello.", "confidence": 0.9},
    ],
}
COVERAGE = {
    "duration_s": 10.0,
    "spans": [
        {"start_s": 0.0, "end_s": 5.0, "kind": "text", "reason": None},
        {"start_s": 5.0, "end_s": 5.5, "kind": "dropped", "reason": "no_text"},
        {"start_s": 5.5, "end_s": 8.0, "kind": "noise", "reason": None},
        {"start_s": 8.0, "end_s": 10.0, "kind": "silence", "reason": None},
    ],
    "totals": {"text": 5.0, "dropped": 0.5, "noise": 2.5, "silence": 2.0},
}
MODELS = [
    {"id": "faster-whisper", "role": "asr", "status": "ready", "name": "demo-asr", "fallback": {"wanted": "small"}},
    {"id": "embedder", "role": "embedder", "status": "loading", "name": None, "fallback": None},
]
HIT = {
    "passage_id": "p",
    "score": 0.8125,
    "scores": {"dense": 0.57, "sparse": 7.2, "rerank": None},
    "collection": "talks",
    "job_id": JOB_ID,
    "recording": "talk.wav",
    "start_s": 301.2,
    "end_s": 318.0,
    "speakers": ["SPEAKER_00"],
    "language": "en",
    "text": "The exam is on Friday.",
    "audio": f"/v1/jobs/{JOB_ID}/audio#t=301.2,318.0",
}


ANSWER = {
    "answer": "On Friday [1].",
    "citations": [
        {
            "n": 1,
            "job_id": JOB_ID,
            "recording": "talk.wav",
            "start_s": 97.3,
            "end_s": 99.0,
            "speaker": "SPEAKER_00",
            "quote": "Friday",
        }
    ],
    "grounded": True,
    "degraded": [],
}


def event(number: int, kind: str, **data: Any) -> bytes:
    """Return one server-sent event as it goes over the wire."""
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def error(status: int, code: str, message: str, *, headers: dict[str, str] | None = None) -> httpx.Response:
    """Return an error as the API writes it."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
    return httpx.Response(status, json=body, headers={"x-request-id": "r-1"} | (headers or {}))


class BrokenLine(httpx.SyncByteStream):
    """A response body that ends with a dead connection."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        raise httpx.ReadError("connection reset by peer")


def stream(*events: bytes, broken: bool = False) -> httpx.Response:
    """Return an event stream, cut off by a dead connection where ``broken``."""
    body = BrokenLine(*events) if broken else httpx.ByteStream(b"".join(events))
    return httpx.Response(200, stream=body, headers={"content-type": "text/event-stream"})


class StandIn:
    """Records requests, and answers them from ``replies`` first, then from its routes."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.replies: deque[httpx.Response | Exception] = deque()
        """What comes first, whatever is asked."""
        self.streams: deque[httpx.Response] = deque([stream(event(0, "queued"), event(1, "succeeded"))])
        """One a connection to the events of a job; without any left, the connection is refused."""
        self.jobs = [job()]
        self.hits = [HIT]
        self.slept: list[float] = []

    @property
    def transport(self) -> httpx.MockTransport:
        """What a client takes instead of the network."""
        return httpx.MockTransport(self._answer)

    def sleep(self, seconds: float) -> None:
        """Take note instead of sleeping."""
        self.slept.append(seconds)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(request.read())
        if self.replies:
            reply = self.replies.popleft()
            if isinstance(reply, Exception):
                raise reply
            return reply
        return self._route(request)

    def _route(self, request: httpx.Request) -> httpx.Response:
        routes: dict[tuple[str, str], Route] = {
            ("POST", "/v1/jobs"): lambda _: httpx.Response(202, json=self.jobs[0] | {"status": "queued"}),
            ("GET", "/v1/jobs"): self._page,
            ("GET", f"/v1/jobs/{JOB_ID}"): lambda _: httpx.Response(200, json=self.jobs[0]),
            ("DELETE", f"/v1/jobs/{JOB_ID}"): lambda _: error(409, "job_ended", "the job has ended: too late"),
            ("POST", f"/v1/jobs/{JOB_ID}/retry"): lambda _: httpx.Response(202, json=job(status="queued")),
            ("GET", f"/v1/jobs/{JOB_ID}/events"): self._events,
            ("GET", f"/v1/jobs/{JOB_ID}/transcript"): self._transcript,
            ("GET", f"/v1/jobs/{JOB_ID}/coverage"): lambda _: httpx.Response(200, json=COVERAGE),
            ("POST", "/v1/search"): lambda _: httpx.Response(
                200, json={"query": "q", "mode": "hybrid", "degraded": [], "hits": self.hits}
            ),
            ("POST", "/v1/chat"): lambda _: httpx.Response(200, json=ANSWER),
            ("GET", "/v1/models"): lambda _: httpx.Response(200, json={"data": [], "models": MODELS}),
            ("GET", "/health/ready"): lambda _: httpx.Response(503, json={"status": "starting"}),
        }
        if request.method == "DELETE" and request.url.params.get("erase"):
            return httpx.Response(204)
        missing: Route = lambda _: error(404, "not_found", "there is no such job")  # noqa: E731
        return routes.get((request.method, request.url.path), missing)(request)

    def _page(self, request: httpx.Request) -> httpx.Response:
        start, limit = int(request.url.params.get("cursor", 0)), int(request.url.params["limit"])
        end = start + min(limit, 2)
        cursor = str(end) if end < len(self.jobs) else None
        return httpx.Response(200, json={"object": "list", "data": self.jobs[start:end], "next_cursor": cursor})

    def _events(self, request: httpx.Request) -> httpx.Response:
        if not self.streams:
            raise httpx.ConnectError("connection refused")
        return self.streams.popleft()

    def _transcript(self, request: httpx.Request) -> httpx.Response:
        form = request.url.params["format"]
        if form == "json":
            return httpx.Response(200, json=TRANSCRIPT)
        return httpx.Response(200, text=f"as {form}\n")
