"""The client: one method a route, typed answers, errors of ``serve_app.client.errors``."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from pipelines.domain.job import TERMINAL_EVENTS, JobEvent
from serve_app.client.errors import FileUnreadable, NotSendable, RequestRefused, ServerUnreachable, refusal
from serve_app.client.events import EventStream
from serve_app.client.requests import (
    Progress,
    authorization,
    file_name,
    idempotency,
    metered,
    not_ours,
    read_json,
    read_text,
    route,
    server_address,
)
from serve_app.client.shapes import (
    ChatBody,
    CoverageBody,
    ImportBody,
    JobBody,
    JobListBody,
    KeyBody,
    KeyListBody,
    ModelsBody,
    NewKeyBody,
    SearchBody,
    SpeakerBody,
    SpeakerList,
    TranscriptBody,
    UsageDayBody,
    UsageListBody,
)

DEFAULT_SERVER = "http://127.0.0.1:8000"
_ATTEMPTS = 4
_LONGEST_PAUSE_S = 30.0
_PAGE = 100
"""The most jobs that the server gives at once."""

Fields = Mapping[str, str | int | float | list[str]]
ShapeT = TypeVar("ShapeT")


class RayScribeClient:
    """Talks to one server. Use as a context manager; calls block.

    Every call raises ClientError: ServerUnreachable, NotRayScribe, RequestRefused, and NotSendable before it sends
    anything.
    """

    def __init__(
        self,
        server: str = DEFAULT_SERVER,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        patience_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connect lazily to ``server`` (a URL without ``/v1``). Raises NotSendable for a wrong address or key.

        ``patience_s`` is how long a broken event stream is resumed; ``transport`` and ``sleep`` are for tests.
        """
        url = server_address(server)
        self.server = server.rstrip("/")
        self._patience_s = patience_s
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=url,
            headers=authorization(api_key),
            timeout=httpx.Timeout(timeout_s, connect=10.0),
            # A proxy of the environment cannot reach this machine's own loopback address.
            trust_env=url.host not in ("127.0.0.1", "localhost", "::1"),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def submit(
        self, file: Path, fields: Fields, *, idempotency_key: str | None = None, on_sent: Progress | None = None
    ) -> JobBody:
        """Upload a recording as a job, streamed from disk, and return the acknowledged job.

        ``fields`` are those of ``POST /v1/jobs``; a list is sent as a repeated field. Raises RequestRefused,
        FileUnreadable.
        """
        headers = idempotency(idempotency_key)
        form = {name: value if isinstance(value, list) else str(value) for name, value in fields.items()}
        try:
            with file.open("rb") as stream:
                upload = {"file": (file_name(file), metered(stream, on_sent), "application/octet-stream")}
                return self._read(JobBody, "POST", "/v1/jobs", data=form, files=upload, headers=headers)
        except OSError as error:
            raise FileUnreadable(f"the file cannot be read: {error.strerror or error}") from error

    def job(self, job_id: str) -> JobBody:
        """Return where a job stands. Raises RequestRefused (404)."""
        return self._read(JobBody, "GET", route("v1", "jobs", job_id))

    def jobs(self, *, status: str | None = None, collection: str | None = None, limit: int = 20) -> list[JobBody]:
        """Return the newest ``limit`` jobs, following cursors."""
        found: list[JobBody] = []
        cursor: str | None = None
        while len(found) < limit:
            wanted = {
                "status": status,
                "collection": collection,
                "cursor": cursor,
                "limit": min(_PAGE, limit - len(found)),
            }
            given = {name: value for name, value in wanted.items() if value}
            page = self._read(JobListBody, "GET", "/v1/jobs", params=given)
            found += page["data"]
            cursor = page.get("next_cursor")
            if not cursor:
                break
        return found[:limit]

    def events(self, job_id: str, *, after: int = -1) -> Iterator[JobEvent]:
        """Yield a job's events after ``after`` until the terminal one, across broken connections.

        Yields nothing where the job has ended and ``after`` is its last event. Raises RequestRefused (404),
        StreamLost, ServerUnreachable.
        """
        return iter(
            EventStream(
                self._http,
                route("v1", "jobs", job_id, "events"),
                after=after,
                patience_s=self._patience_s,
                has_ended=lambda: self._has_ended(job_id),
                sleep=self._sleep,
            )
        )

    def transcript(self, job_id: str) -> TranscriptBody:
        """Return the transcript with times and speakers. Raises RequestRefused (404, 409 while there is none)."""
        wanted = {"format": "json"}
        return self._read(TranscriptBody, "GET", route("v1", "jobs", job_id, "transcript"), params=wanted)

    def transcript_text(self, job_id: str, form: str) -> str:
        """Return the transcript as the server writes it: ``json``, ``text``, ``srt``, ``vtt`` or ``md``."""
        return read_text(self._send("GET", route("v1", "jobs", job_id, "transcript"), params={"format": form}))

    def transcript_file(self, job_id: str, form: str) -> bytes:
        """Return the transcript as a file of any format, also one that is no text (``docx``)."""
        response = self._send("GET", route("v1", "jobs", job_id, "transcript"), params={"format": form})
        if response.headers.get("content-type", "text/html").startswith("text/html"):
            raise not_ours(response.request)
        return response.content

    def coverage(self, job_id: str) -> CoverageBody:
        """Return what became of every second. Raises RequestRefused (404, 409 while there is no transcript)."""
        return self._read(CoverageBody, "GET", route("v1", "jobs", job_id, "coverage"))

    def transcript_and_revision(self, job_id: str) -> tuple[TranscriptBody, str]:
        """Return the transcript, and what ``correct`` must be given: which revision this is."""
        response = self._send("GET", route("v1", "jobs", job_id, "transcript"))
        return read_json(response, TranscriptBody), response.headers.get("etag", "")

    def correct(self, job_id: str, segments: list[dict[str, Any]], revision: str) -> int:
        """Change segments (``id``, ``text``, ``words``, ``speaker``) and return the number of the new revision.

        Raises RequestRefused (412 where somebody else was faster, 409 while the job runs).
        """
        path, headers = route("v1", "jobs", job_id, "transcript"), {"if-match": revision}
        response = self._send("PATCH", path, json={"segments": segments}, headers=headers)
        read_json(response, TranscriptBody)
        return int(response.headers["etag"].strip('"'))

    def speakers(self, job_id: str) -> tuple[list[SpeakerBody], str]:
        """Return who speaks how long, and what ``change_speakers`` must be given."""
        response = self._send("GET", route("v1", "jobs", job_id, "speakers"))
        return read_json(response, SpeakerList)["data"], response.headers.get("etag", "")

    def change_speakers(self, job_id: str, edits: dict[str, Any], revision: str) -> list[SpeakerBody]:
        """Rename, merge and split speakers (``rename``, ``merge``, ``split``). Raises RequestRefused as ``correct``."""
        path, headers = route("v1", "jobs", job_id, "speakers"), {"if-match": revision}
        return read_json(self._send("PATCH", path, json=edits, headers=headers), SpeakerList)["data"]

    def remake(self, job_id: str) -> JobBody:
        """Let what is older than the transcript be made again; return the job that does it."""
        return self._read(JobBody, "POST", route("v1", "jobs", job_id, "remake"))

    def cancel(self, job_id: str) -> JobBody:
        """Stop a job. Raises RequestRefused (404, 409 when it has ended)."""
        return self._read(JobBody, "DELETE", route("v1", "jobs", job_id))

    def erase(self, job_id: str) -> None:
        """Remove recording, artifacts, passages and the job itself."""
        response = self._send("DELETE", route("v1", "jobs", job_id), params={"erase": "true"})
        if response.status_code != httpx.codes.NO_CONTENT:
            raise not_ours(response.request)

    def retry(self, job_id: str) -> JobBody:
        """Let a failed job go on from its last finished stage."""
        return self._read(JobBody, "POST", route("v1", "jobs", job_id, "retry"))

    def search(self, query: str, collections: list[str], **options: Any) -> SearchBody:
        """Search collections; ``options`` are further fields of ``POST /v1/search`` (``top_k``, ``mode``, …)."""
        body = {"query": query, "collections": collections, **options}
        return self._read(SearchBody, "POST", "/v1/search", json=body)

    def chat(self, question: str, collections: list[str], **options: Any) -> ChatBody:
        """Ask a question over collections; the answer cites moments of recordings."""
        body = {"question": question, "collections": collections, **options}
        return self._read(ChatBody, "POST", "/v1/chat", json=body)

    def create_key(
        self, name: str, scopes: list[str], *, expires_at: str | None = None, tenant: str | None = None
    ) -> NewKeyBody:
        """Make a key; what is returned holds it, and nothing else ever will. Raises RequestRefused (403)."""
        body = {"name": name, "scopes": scopes, "expires_at": expires_at, "tenant": tenant}
        return self._read(NewKeyBody, "POST", "/v1/keys", json=body)

    def keys(self, *, tenant: str | None = None) -> list[KeyBody]:
        """Return all keys of a tenant (None: one's own) that were made while serving."""
        return self._read(KeyListBody, "GET", "/v1/keys", params=_given(tenant=tenant))["data"]

    def revoke_key(self, key_id: str, *, tenant: str | None = None) -> KeyBody:
        """End a key. Raises RequestRefused (404)."""
        return self._read(KeyBody, "DELETE", route("v1", "keys", key_id), params=_given(tenant=tenant))

    def rotate_key(self, key_id: str, *, overlap_s: float = 0.0, tenant: str | None = None) -> NewKeyBody:
        """Replace a key by one of the same terms; both open for ``overlap_s``. Raises RequestRefused (404, 409)."""
        path, body = route("v1", "keys", key_id, "rotate"), {"overlap_s": overlap_s}
        return self._read(NewKeyBody, "POST", path, json=body, params=_given(tenant=tenant))

    def usage(
        self, *, start: str | None = None, end: str | None = None, tenant: str | None = None
    ) -> list[UsageDayBody]:
        """Return what a tenant used from ``start`` to ``end`` (``2026-11-27``), a day each."""
        wanted = _given(start=start, end=end, tenant=tenant)
        return self._read(UsageListBody, "GET", "/v1/usage", params=wanted)["data"]

    def export_collection(self, name: str, to: Path, *, recordings: bool = True) -> int:
        """Write a whole collection to a file; return its size in bytes. What breaks off leaves no file.

        Raises RequestRefused (404), ServerUnreachable, FileUnreadable.
        """
        part = to.with_name(f"{to.name}.part")
        wanted = {"recordings": "true" if recordings else "false"}
        try:
            with (
                part.open("wb") as file,
                self._http.stream("GET", route("v1", "collections", name, "export"), params=wanted) as response,
            ):
                if not response.is_success:
                    response.read()
                    raise refusal(response)
                for chunk in response.iter_bytes():
                    file.write(chunk)
            part.replace(to)
        except httpx.TransportError as error:
            raise ServerUnreachable(f"the answer of {self.server} broke off: {error}") from error
        except OSError as error:
            raise FileUnreadable(f"the file cannot be written: {error.strerror or error}") from error
        finally:
            part.unlink(missing_ok=True)
        return to.stat().st_size

    def import_collection(
        self, file: Path, *, collection: str | None = None, on_sent: Progress | None = None
    ) -> ImportBody:
        """Bring a collection back from a file. Done again, it finds the same jobs. Raises RequestRefused."""
        form = {"collection": collection} if collection else {}
        try:
            with file.open("rb") as stream:
                upload = {"file": (file_name(file), metered(stream, on_sent), "application/zip")}
                # The answer comes when all jobs are acknowledged, which may have to wait for their queue.
                return self._read(ImportBody, "POST", "/v1/collections/import", data=form, files=upload, timeout=None)
        except OSError as error:
            raise FileUnreadable(f"the file cannot be read: {error.strerror or error}") from error

    def models(self) -> ModelsBody:
        """Return the models that are loaded."""
        return self._read(ModelsBody, "GET", "/v1/models")

    def health(self, kind: str = "ready") -> tuple[int, dict[str, Any]]:
        """Return status code and body of ``/health/{kind}``, whatever they say. Raises ServerUnreachable."""
        response = self._exchange("GET", route("health", kind), timeout=5.0)
        try:
            body = response.json()
        except ValueError:
            body = {}
        return response.status_code, body if isinstance(body, dict) else {}

    def _has_ended(self, job_id: str) -> bool:
        """Say whether a job has ended, as far as it can be learnt now. Raises RequestRefused (404)."""
        try:
            job = read_json(self._accepted("GET", route("v1", "jobs", job_id)), JobBody)
        except ServerUnreachable:
            return False
        except RequestRefused as error:
            if error.busy:
                return False
            raise
        return job["status"] in TERMINAL_EVENTS

    def _read(self, shape: type[ShapeT], method: str, path: str, **options: Any) -> ShapeT:
        return read_json(self._send(method, path, **options), shape)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        # Only what was turned away before anything was done is sent again (429, 503): sending it twice is safe.
        attempts = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, RequestRefused) and error.busy),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=_pause_s,
            sleep=self._sleep,
            reraise=True,
        )
        return attempts(self._accepted, method, path, **options)

    def _accepted(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self._exchange(method, path, **options)
        if not response.is_success:
            raise refusal(response)
        return response

    def _exchange(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ServerUnreachable(f"no answer from {self.server}: {error or type(error).__name__}") from error
        except httpx.DecodingError as error:
            raise not_ours(error.request) from error
        except (UnicodeEncodeError, httpx.InvalidURL) as error:
            raise NotSendable("what was given is too long, or is no text (UTF-8)") from error


def _given(**parameters: str | None) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value is not None}


def _pause_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s if isinstance(error, RequestRefused) else None
    return min(_LONGEST_PAUSE_S, asked_s if asked_s is not None else 2.0 ** (state.attempt_number - 1))
