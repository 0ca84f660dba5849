import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Command
from tests.client.standin import ANSWER, JOB_ID, StandIn, error, event, job, stream


def test_submit_prints_the_acknowledged_job(rayscribe: Command, server: StandIn, recording: Path) -> None:
    result = rayscribe("submit", recording)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{JOB_ID}  talk.wav  queued\n"


def test_submit_sends_its_options(rayscribe: Command, server: StandIn, recording: Path) -> None:
    rayscribe(
        "submit", recording, "--features", "diarization, word_timestamps", "-f", "summary", "--template", "brief",
        "--language", "de", "--speakers", "2", "--priority", "high", "--idempotency-key", "k",
    )  # fmt: skip
    body, headers = server.bodies[0].decode(errors="replace"), server.requests[0].headers
    for name, value in [
        ("features", "diarization"),
        ("features", "word_timestamps"),
        ("features", "summary"),
        ("template_id", "brief"),
        ("language", "de"),
        ("num_speakers", "2"),
        ("priority", "high"),
    ]:
        assert f'name="{name}"\r\n\r\n{value}\r\n' in body
    assert headers["idempotency-key"] == "k"
    assert "collection" not in body


@pytest.mark.parametrize(
    ("features", "sent"),
    [
        ((), ["raw_transcript", "index"]),
        (("--features", "diarization"), ["diarization", "index"]),
        (("--features", "index"), ["index"]),
    ],
)
def test_a_collection_is_indexed_into(
    rayscribe: Command, server: StandIn, recording: Path, features: tuple[str, ...], sent: list[str]
) -> None:
    rayscribe("submit", recording, "--collection", "talks", *features)
    body = server.bodies[0].decode(errors="replace")
    assert body.count('name="features"') == len(sent)
    assert all(f'name="features"\r\n\r\n{name}\r\n' in body for name in sent)


def test_several_files_get_keys_of_their_own(
    rayscribe: Command, server: StandIn, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same_name = tmp_path / "Müller" / recording.name
    same_name.parent.mkdir()
    same_name.write_bytes(b"RIFF")
    umlaut = same_name.with_name("ä b.wav")
    umlaut.write_bytes(b"RIFF")

    def keys(*files: Path | str) -> list[str]:
        server.requests.clear()
        rayscribe("submit", *files, "--idempotency-key", "k")
        return [request.headers["idempotency-key"] for request in server.requests]

    first = keys(recording, same_name, umlaut)
    assert len(set(first)) == 3
    assert all(key.startswith("k/") and key.isascii() and " " not in key for key in first)
    assert keys(recording, same_name, umlaut) == first, "repeated, the command finds the same jobs"
    assert keys(umlaut, recording) == [first[2], first[0]]
    monkeypatch.chdir(same_name.parent)
    assert keys("talk.wav", "../talk.wav", "ä b.wav")[::2] == first[1:]
    assert keys(recording) == ["k"]


class TestSeveralFiles:
    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        made = [tmp_path / name for name in ("a.wav", "notes.txt", "c.wav")]
        for file in made:
            file.write_bytes(b"RIFF")
        return made

    @pytest.fixture
    def second(self, server: StandIn) -> Callable[[httpx.Response | Exception], None]:
        """Let the server accept the first file, and answer the second so."""

        def answer(reply: httpx.Response | Exception) -> None:
            server.replies.extend([httpx.Response(202, json=job(id="first", status="queued")), reply])

        return answer

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (415, "unsupported_media"),
            (413, "too_large"),
            (409, "idempotency_conflict"),
            (422, "audio_too_short"),
            (500, "internal_error"),
        ],
    )
    def test_one_that_is_refused_is_named_and_the_others_become_jobs(
        self, rayscribe: Command, second: Any, files: list[Path], status: int, code: str
    ) -> None:
        second(error(status, code, "this one will not do"))
        result = rayscribe("submit", *files)
        assert result.exit_code == 3
        assert result.stdout == f"first  talk.wav  queued\n{JOB_ID}  talk.wav  queued\n"
        assert result.stderr.startswith(f"✗ {files[1]}: this one will not do\n")

    @pytest.mark.parametrize(
        ("reply", "exit_code"),
        [
            (error(401, "invalid_api_key", "the API key is not known"), 3),
            (error(422, "invalid_field", "no such language"), 3),
            (httpx.ConnectError("connection refused"), 4),
            (httpx.Response(200, text="<html>hi</html>"), 4),
        ],
    )
    def test_what_the_others_would_meet_too_stops_and_says_which_were_not_sent(
        self, rayscribe: Command, second: Any, files: list[Path], reply: httpx.Response | Exception, exit_code: int
    ) -> None:
        second(reply)
        result = rayscribe("submit", *files)
        assert result.exit_code == exit_code
        assert result.stdout == "first  talk.wav  queued\n", "a job that was accepted is never lost"
        assert result.stderr.startswith(f"✗ {files[1]}: ")
        assert f"Not sent: {files[2]}" in result.stderr

    def test_one_that_vanished_is_wrong_usage_and_the_others_become_jobs(
        self, rayscribe: Command, server: StandIn, files: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = Path.open

        def vanish(file: Path, *arguments: Any) -> Any:
            if file == files[1]:
                raise FileNotFoundError(2, "No such file or directory")
            return opened(file, *arguments)

        monkeypatch.setattr(Path, "open", vanish)
        result = rayscribe("submit", *files)
        assert result.exit_code == 2
        assert len(result.stdout.splitlines()) == 2
        assert f"✗ {files[1]}: the file cannot be read: No such file or directory" in result.stderr

    def test_those_that_were_accepted_are_followed_all_the_same(
        self, rayscribe: Command, server: StandIn, recording: Path, files: list[Path]
    ) -> None:
        server.replies.append(error(415, "unsupported_media", "the file is not audio"))
        result = rayscribe("submit", files[1], recording, "--follow")
        assert result.exit_code == 3
        assert "SPEAKER_00  Good morning." in result.stdout


def test_follow_shows_progress_then_the_transcript(rayscribe: Command, server: StandIn, recording: Path) -> None:
    server.streams.clear()
    server.streams.append(
        stream(
            event(0, "queued"),
            event(1, "stage", stage="transcribe", progress=0.25),
            event(2, "window", start_s=1.2, end_s=4.9, text="Good morning."),
            event(3, "succeeded"),
        )
    )
    result = rayscribe("submit", recording, "--follow")
    assert result.exit_code == 0, result.output
    assert "transcribe (25%)" in result.stderr
    assert "00:01.2  Good morning." in result.stderr
    assert "00:01.2 – 00:04.9  SPEAKER_00  Good morning." in result.stdout
    assert "01:05.0 – 01:06.0  SPEAKER_01  Hello." in result.stdout


def test_file_that_does_not_exist_is_wrong_usage(rayscribe: Command, server: StandIn) -> None:
    result = rayscribe("submit", "nowhere.wav")
    assert result.exit_code == 2
    assert "nowhere.wav" in result.stderr


def test_watch_leaves_with_1_when_the_job_failed(rayscribe: Command, server: StandIn) -> None:
    failure = {"message": "the recording is empty", "code": "audio_too_short", "stage": "prepare"}
    server.jobs = [job(status="failed", error=failure)]
    server.streams.clear()
    server.streams.append(stream(event(0, "failed", **failure)))
    result = rayscribe("watch", JOB_ID)
    assert result.exit_code == 1
    assert f"✗ {JOB_ID} failed in prepare: the recording is empty (audio_too_short)" in result.stderr
    assert f"rayscribe retry {JOB_ID}" in result.stderr


def test_watch_resumes_and_prints_json_lines(rayscribe: Command, server: StandIn) -> None:
    server.streams.clear()
    server.streams.append(stream(event(3, "stage", stage="index", progress=0.9), broken=True))
    server.streams.append(stream(event(4, "succeeded")))
    result = rayscribe("watch", JOB_ID, "--after", "2", "--json")
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines == [
        {"id": 3, "type": "stage", "stage": "index", "progress": 0.9},
        {"id": 4, "type": "succeeded"},
    ]
    streams = [request for request in server.requests if request.url.path.endswith("/events")]
    assert [request.headers["last-event-id"] for request in streams] == ["2", "3"]


def test_lost_stream_says_that_the_job_goes_on(rayscribe: Command, server: StandIn) -> None:
    server.streams.clear()
    server.streams.append(stream(event(0, "queued"), broken=True))
    result = rayscribe("watch", JOB_ID)
    assert result.exit_code == 4
    assert "The job goes on without this terminal" in result.stderr


def test_jobs_as_table_and_as_json(rayscribe: Command, server: StandIn) -> None:
    server.jobs = [
        job(id="a", status="queued", queue_position=2),
        job(id="b", status="running", stage="transcribe", progress=0.42),
    ]
    table = rayscribe("jobs").stdout.splitlines()
    assert "waiting, 2." in table[1]
    assert "transcribe 42%" in table[2]
    assert [found["id"] for found in json.loads(rayscribe("jobs", "--json").stdout)] == ["a", "b"]


def test_no_jobs_says_what_to_do(rayscribe: Command, server: StandIn) -> None:
    server.jobs = []
    assert "rayscribe submit FILE" in rayscribe("jobs").stdout


def test_cancel_of_an_ended_job_is_refused_with_advice(rayscribe: Command, server: StandIn) -> None:
    result = rayscribe("cancel", JOB_ID)
    assert result.exit_code == 3
    assert "✗ the job has ended" in result.stderr
    assert "rayscribe erase ID" in result.stderr


def test_retry(rayscribe: Command, server: StandIn) -> None:
    assert rayscribe("retry", JOB_ID).stdout == f"{JOB_ID}  queued\n"
    assert json.loads(rayscribe("retry", JOB_ID, "--json").stdout)["status"] == "queued"


def test_erase_asks_first(rayscribe: Command, server: StandIn) -> None:
    assert rayscribe("erase", JOB_ID, input="n\n").exit_code == 1
    assert server.requests == []
    assert rayscribe("erase", JOB_ID, "--yes").stdout == f"{JOB_ID}  erased\n"
    assert server.requests[0].url.params["erase"] == "true"


def test_name_that_is_no_text_can_be_submitted(rayscribe: Command, server: StandIn, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"M\xfcller.wav")
    file.write_bytes(b"RIFF")
    assert rayscribe("submit", file).exit_code == 0
    server.replies.append(error(415, "unsupported_media", "the file is not audio"))
    result = rayscribe("submit", file)
    assert result.exit_code == 3
    assert "M\ufffdller.wav: the file is not audio" in result.stderr


@pytest.mark.parametrize("command", ["watch", "cancel", "retry", "erase", "transcript"])
@pytest.mark.parametrize(
    "given",
    ["", ".", "..", "x", "../collections/bio", "../collections/bio/reindex?", f"{JOB_ID}?erase=true", f"{JOB_ID}#",
     f"{JOB_ID}/", f"{JOB_ID}\n", JOB_ID.upper(), "\udcff"],
)  # fmt: skip
def test_id_that_is_none_is_wrong_usage_and_nothing_is_sent(
    rayscribe: Command, server: StandIn, command: str, given: str
) -> None:
    result = rayscribe(command, given)
    assert result.exit_code == 2
    assert "is no id of a job" in result.stderr
    assert server.requests == []


COMMANDS = [
    ("jobs",), ("watch", JOB_ID), ("watch", JOB_ID, "--json"), ("cancel", JOB_ID), ("retry", JOB_ID),
    ("erase", JOB_ID, "--yes"), ("transcript", JOB_ID), ("search", "exam", "-c", "talks"),
    ("chat", "exam?", "-c", "talks"), ("models", "list", "--running"),
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("body", ["<html>hi</html>", "{}", "[]"])
def test_another_server_is_told_apart(rayscribe: Command, server: StandIn, words: tuple[str, ...], body: str) -> None:
    server.replies.append(httpx.Response(200, text=body))
    result = rayscribe(*words)
    assert result.exit_code == 4, result.output
    assert result.stderr.startswith("✗ http://127.0.0.1:8000 is not a RayScribe server")
    assert "--server" in result.stderr
    assert len(server.requests) == 1


@pytest.mark.parametrize("address", ["http://host:port", "http://[::1", "localhost:8000", ""])
def test_address_that_is_none_is_wrong_usage(rayscribe: Command, server: StandIn, address: str) -> None:
    result = rayscribe("jobs", "--server", address)
    assert result.exit_code == 2
    assert result.stderr == f"✗ {address!r} is no address of a server: write it like http://127.0.0.1:8000\n"


def test_keys_that_cannot_be_sent_are_wrong_usage(rayscribe: Command, server: StandIn, recording: Path) -> None:
    spoilt = rayscribe("jobs", "--api-key", "se\ncret")
    assert (spoilt.exit_code, "secret" in spoilt.output) == (2, False)
    result = rayscribe("submit", recording, "--idempotency-key", "schlüssel")
    assert result.exit_code == 2
    assert "an idempotency key is 1 to 255 visible ASCII characters" in result.stderr
    assert rayscribe("submit", recording, "--idempotency-key", "").exit_code == 2
    assert server.requests == []


def test_question_that_is_no_text_is_wrong_usage(rayscribe: Command, server: StandIn) -> None:
    result = rayscribe("search", "\udcff", "-c", "talks")
    assert result.exit_code == 2
    assert "UTF-8" in result.stderr


def test_watching_after_the_last_event_says_what_came_of_it(rayscribe: Command, server: StandIn) -> None:
    server.streams.clear()
    server.streams.append(httpx.Response(204))
    result = rayscribe("watch", JOB_ID, "--after", "5")
    assert result.exit_code == 0, result.output
    assert f"rayscribe transcript {JOB_ID}" in result.stdout


def test_nobody_there_says_how_to_start_one(rayscribe: Command, server: StandIn) -> None:
    server.replies.append(httpx.ConnectError("connection refused"))
    result = rayscribe("jobs", "--server", "http://elsewhere:1")
    assert result.exit_code == 4
    assert "✗ no answer from http://elsewhere:1" in result.stderr
    assert "rayscribe up" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "advice"),
    [
        (401, "invalid_api_key", 3, "RAYSCRIBE_API_KEY"),
        (404, "not_found", 3, "rayscribe jobs"),
        (408, "upload_too_slow", 3, "again"),
        (413, "too_large", 3, "limits.upload_bytes"),
        (415, "unsupported_media", 3, "FFmpeg"),
        (422, "not_available", 3, "/docs"),
        (500, "internal_error", 3, "request r-1"),
    ],
)
def test_refusals_give_advice(
    rayscribe: Command, server: StandIn, status: int, code: str, exit_code: int, advice: str
) -> None:
    server.replies.append(error(status, code, "no"))
    result = rayscribe("jobs")
    assert result.exit_code == exit_code
    assert result.stderr.startswith("✗ no\n")
    assert advice in result.stderr


def test_busy_server_has_an_exit_code_of_its_own(rayscribe: Command, server: StandIn) -> None:
    server.replies.extend(error(429, "queue_full", "too many jobs are waiting") for _ in range(4))
    result = rayscribe("jobs")
    assert result.exit_code == 5
    assert "too many jobs are waiting" in result.stderr


def test_server_and_key_come_from_the_environment(
    rayscribe: Command, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYSCRIBE_SERVER", "http://there:9")
    monkeypatch.setenv("RAYSCRIBE_API_KEY", "secret")
    rayscribe("jobs")
    assert server.requests[0].url.host == "there"
    assert server.requests[0].headers["authorization"] == "Bearer secret"


def without_recording(kind: str, **changes: Any) -> dict[str, Any]:
    return job(kind=kind, recording=None, features=[], **changes)


def test_jobs_about_no_recording_say_what_they_are_about(rayscribe: Command, server: StandIn) -> None:
    server.jobs = [
        without_recording("text") | {"features": ["summary"]},
        without_recording("chat", status="running", stage="answer", progress=0.0),
        without_recording("reindex", collection="talks"),
    ]
    table = rayscribe("jobs").stdout.splitlines()
    assert "text: summary" in table[1]
    assert table[2].endswith("chat")
    assert "answer 0%" in table[2]
    assert table[3].split()[-2:] == ["reindex", "talks"]


REINDEXED = {"collection": "talks", "passages": 12, "embedder": "bge-m3"}


@pytest.mark.parametrize(
    ("finished", "told"),
    [
        (
            without_recording("text", results={"summarize": {"title": "Budget"}}, versions={"llm": {"summarize": {}}}),
            '"title": "Budget"',
        ),
        (without_recording("chat", results={"chat": ANSWER}), "[1] talk.wav 01:37.3 – 01:39.0  SPEAKER_00: “Friday”"),
        (without_recording("reindex", results={"reindex": REINDEXED}), "talks holds vectors of bge-m3"),
    ],
)
def test_watch_ends_with_what_came_of_it(
    rayscribe: Command, server: StandIn, finished: dict[str, Any], told: str
) -> None:
    server.jobs = [finished]
    result = rayscribe("watch", JOB_ID)
    assert result.exit_code == 0, result.output
    assert told in result.stdout
    assert "rayscribe transcript" not in result.stdout
