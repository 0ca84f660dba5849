"""Collections as files, and folders that are watched, from a shell."""

from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from pipelines.fakes.scripted_speech import write_wav
from serve_app.cli import search
from serve_app.settings import Settings
from tests.api.conftest import SPEECH, build_world
from tests.cli.conftest import Command
from tests.client.standin import JOB_ID, StandIn, error, job
from tests.client.test_against_application import served
from tests.services.s3 import new_bucket, point_at, s3_server


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_a_collection_goes_out_and_comes_back(rayscribe: Command, tmp_path: Path) -> None:
    recording = tmp_path / "talk.wav"
    recording.write_bytes(write_wav(SPEECH))
    file = tmp_path / "bio.zip"
    with served(build_world(Settings()).app) as full, served(build_world(Settings()).app) as empty:
        sent = rayscribe("submit", recording, "--collection", "bio", "--follow", "--server", full)
        assert sent.exit_code == 0, sent.output
        out = rayscribe("export", "bio", "-o", file, "--server", full)
        assert (out.exit_code, file.exists()) == (0, True), out.output

        back = rayscribe("import", file, "--server", empty)

        assert back.exit_code == 0, back.output
        assert back.stdout.endswith("bio  1 recordings: `rayscribe jobs` shows them\n")
        again = rayscribe("import", file, "--server", full)
        assert "0 recordings, 1 were there" in again.stdout
        missing = rayscribe("export", "none", "-o", tmp_path / "none.zip", "--server", full)
        assert (missing.exit_code, list(tmp_path.glob("none*"))) == (3, [])
        wrong = rayscribe("import", recording, "--server", empty)
        assert wrong.exit_code == 3


def test_an_export_that_breaks_off_leaves_no_file(rayscribe: Command, server: StandIn, tmp_path: Path) -> None:
    server.replies.append(httpx.ReadError("reset"))
    result = rayscribe("export", "bio", "-o", tmp_path / "bio.zip")

    assert (result.exit_code, list(tmp_path.glob("bio*"))) == (4, [])


def names_sent(server: StandIn) -> list[str]:
    found = []
    for request, body in zip(server.requests, server.bodies, strict=True):
        if request.method == "POST":
            found.append(body.split(b'filename="')[1].split(b'"')[0].decode())
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    (folder / "monday").mkdir(parents=True)
    (folder / "a.wav").write_bytes(b"RIFF1")
    (folder / "monday" / "b.MP3").write_bytes(b"ID3")
    for other in ("notes.txt", ".hidden.wav", "a.wav.part"):
        (folder / other).write_bytes(b"x")
    return folder


def test_what_is_in_a_folder_is_submitted_once(rayscribe: Command, server: StandIn, folder: Path) -> None:
    first = rayscribe("watch-folder", folder, "--once", "--collection", "bio")

    assert first.exit_code == 0, first.output
    assert names_sent(server) == ["a.wav", "b.MP3"]
    assert b"raw_transcript,index" in server.bodies[0]
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(set(keys)) == 2

    assert rayscribe("watch-folder", folder, "--once", "--collection", "bio").exit_code == 0
    assert len(server.requests) == 2
    (folder / "a.wav").write_bytes(b"RIFF22")
    rayscribe("watch-folder", folder, "--once", "--collection", "bio")
    assert names_sent(server) == ["a.wav", "b.MP3", "a.wav"]


def test_what_is_refused_is_not_sent_again_and_what_is_busy_is(
    rayscribe: Command, server: StandIn, folder: Path
) -> None:
    server.replies += [error(415, "unsupported_media", "no sound"), *[error(429, "queue_full", "later")] * 4]
    result = rayscribe("watch-folder", folder, "--once")
    assert "no sound" in result.stderr
    assert "later" in result.stderr

    rayscribe("watch-folder", folder, "--once")

    assert set(names_sent(server)[1:]) == {"b.MP3"}
    assert names_sent(server)[-1] == "b.MP3"


def test_a_file_that_grows_is_waited_for_and_a_server_that_is_away_too(folder: Path) -> None:
    sent: list[str] = []

    class Client:
        def submit(self, file: Path, fields: Any, *, idempotency_key: str) -> Any:
            from serve_app.client import ServerUnreachable

            if len(looks) == 2:
                raise ServerUnreachable("away")
            sent.append(f"{file.name}@{len(looks)}")
            return job(id=JOB_ID)

    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) <= 3:
            (folder / "a.wav").write_bytes(b"RIFF" + b"x" * len(looks))
        if len(looks) == 5:
            raise KeyboardInterrupt

    remembered = search._Remembered(folder.parent / "state.json")
    client: Any = Client()
    watch = search._Watch(client, "http://x", search._open(str(folder)), remembered, {}, sleep)
    with pytest.raises(KeyboardInterrupt):
        watch.run(7.0, once=False)

    assert sent == ["b.MP3@1", "a.wav@4"]
    assert set(looks) == {7.0}


def test_a_folder_that_is_none(rayscribe: Command, server: StandIn, tmp_path: Path) -> None:
    assert rayscribe("watch-folder", tmp_path / "nowhere", "--once").exit_code == 2
    assert rayscribe("watch-folder", "gopher://x", "--once").exit_code == 2


def test_a_bucket_is_watched_alike(
    rayscribe: Command, server: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with s3_server() as address:
        point_at(address, monkeypatch)
        bucket = new_bucket(address)
        s3 = boto3.client("s3", endpoint_url=address)
        s3.put_object(Bucket=bucket, Key="calls/a.wav", Body=b"RIFF of a bucket")
        s3.put_object(Bucket=bucket, Key="calls/notes.txt", Body=b"x")

        result = rayscribe("watch-folder", f"s3://{bucket}/calls", "--once")
        assert result.exit_code == 0, result.output
        rayscribe("watch-folder", f"s3://{bucket}/calls", "--once")

    assert names_sent(server) == ["a.wav"]
    assert b"RIFF of a bucket" in server.bodies[0]
