"""A hub that fits into a test: one repository, served to huggingface_hub over its own HTTP library's mock transport."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx2
import pytest


class StandInHub:
    """Serves the files of one repository at one revision; may break, be closed or be away."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.away = False
        """While True, no connection is made."""
        self.refuse_with: int | None = None
        """Status of every answer, where set: 401 and 403 are what a gated repository says."""
        self.break_once: str | None = None
        """The first download of this file ends in the middle."""
        self.requests: list[httpx2.Request] = []

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        self.requests.append(request)
        if self.away:
            raise httpx2.ConnectError("name resolution failed", request=request)
        if self.refuse_with:
            headers = {"X-Error-Code": "GatedRepo"} if self.refuse_with in (401, 403) else {}
            return httpx2.Response(self.refuse_with, headers=headers, request=request, json={"error": "no"})
        if "/tree/" in request.url.path:
            return httpx2.Response(200, json=[self._entry(name) for name in self.files], request=request)
        return self._file(request)

    def _entry(self, name: str) -> dict[str, object]:
        return {"type": "file", "path": name, "size": len(self.files[name]), "oid": _etag(self.files[name])}

    def _file(self, request: httpx2.Request) -> httpx2.Response:
        _, _, rest = request.url.path.partition("/resolve/")
        commit, _, name = rest.partition("/")
        data = self.files[name]
        headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": commit, "Content-Length": str(len(data))}
        if request.method == "HEAD":
            return httpx2.Response(200, headers=headers, request=request)
        if name == self.break_once:
            self.break_once = None
            return httpx2.Response(200, headers=headers, stream=_Torn(data[: len(data) // 2]), request=request)
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        status = 206 if start else 200
        headers["Content-Length"] = str(len(data) - start)
        return httpx2.Response(status, headers=headers, content=data[start:], request=request)


class _Torn(httpx2.SyncByteStream):
    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
        raise httpx2.ReadError("connection reset by peer")


def _etag(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def connected_to(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let huggingface_hub reach ``hub`` and nothing else."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the hub's library pauses between its own tries
    huggingface_hub.set_client_factory(
        lambda: httpx2.Client(transport=httpx2.MockTransport(hub.answer), follow_redirects=True)
    )
    try:
        yield
    finally:
        huggingface_hub.set_client_factory(_http.default_client_factory)


def whisper_files() -> dict[str, bytes]:
    """Return what a faster-whisper repository holds, and a file that nobody needs."""
    names = ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt", "README.md")
    return {name: json.dumps({"name": name}).encode() * 50 for name in names}
