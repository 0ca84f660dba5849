import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.client.standin import JOB_ID, StandIn


def test_transcript_for_reading(rayscribe: Command, server: StandIn) -> None:
    lines = rayscribe("transcript", JOB_ID).stdout.splitlines()
    assert lines == ["00:01.2 – 00:04.9  SPEAKER_00  Good morning.", "01:05.0 – 01:06.0  SPEAKER_01  Hello."]


@pytest.mark.parametrize("form", ["text", "srt", "vtt", "md"])
def test_transcript_as_the_server_writes_it(rayscribe: Command, server: StandIn, form: str) -> None:
    assert rayscribe("transcript", JOB_ID, "--format", form).stdout == f"as {form}\n"


def test_unknown_format_is_wrong_usage(rayscribe: Command, server: StandIn) -> None:
    assert rayscribe("transcript", JOB_ID, "--format", "docx").exit_code == 2


@pytest.mark.parametrize(("name", "form"), [("a.srt", "srt"), ("a.VTT", "vtt"), ("a.txt", "text"), ("a", "text")])
def test_output_file_decides_the_format(
    rayscribe: Command, server: StandIn, tmp_path: Path, name: str, form: str
) -> None:
    rayscribe("transcript", JOB_ID, "--output", tmp_path / name)
    assert (tmp_path / name).read_text() == f"as {form}\n"


@pytest.mark.parametrize("name", ["nowhere/a.srt", "a.srt/b.srt"])
def test_output_that_cannot_be_written_is_wrong_usage(
    rayscribe: Command, server: StandIn, tmp_path: Path, name: str
) -> None:
    (tmp_path / "a.srt").write_text("a file")
    result = rayscribe("transcript", JOB_ID, "--output", tmp_path / name)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"✗ {tmp_path / name} cannot be written: ")
    assert "--output" in result.stderr


def test_search_prints_score_moment_speaker_and_text(rayscribe: Command, server: StandIn) -> None:
    result = rayscribe("search", "when is the exam", "--collection", "talks", "--speaker", "SPEAKER_00", "-k", "3")
    assert result.stdout == "  1. 0.812  talk.wav 05:01.2 – 05:18.0  SPEAKER_00  The exam is on Friday.\n"
    assert json.loads(server.bodies[0]) == {
        "query": "when is the exam",
        "collections": ["talks"],
        "top_k": 3,
        "mode": "hybrid",
        "filters": {"speakers": ["SPEAKER_00"]},
    }


def test_search_as_json_and_without_hits(rayscribe: Command, server: StandIn) -> None:
    assert json.loads(rayscribe("search", "exam", "-c", "talks", "--json").stdout)["hits"][0]["score"] == 0.8125
    server.hits = []
    assert "nothing found" in rayscribe("search", "exam", "-c", "talks").stdout


def test_search_wants_a_collection(rayscribe: Command, server: StandIn) -> None:
    result = rayscribe("search", "exam")
    assert result.exit_code == 2
    assert "--collection" in result.stderr


def test_chat_prints_the_answer_and_where_it_was_said(rayscribe: Command, server: StandIn) -> None:
    lines = rayscribe("chat", "when is the exam", "-c", "talks").stdout.splitlines()
    assert lines == ["On Friday [1].", "  [1] talk.wav 01:37.3 – 01:39.0  SPEAKER_00: “Friday”"]
    assert json.loads(server.bodies[0])["question"] == "when is the exam"


def test_coverage_is_a_bar_with_its_totals_and_what_was_dropped(rayscribe: Command, server: StandIn) -> None:
    bar, *rest = rayscribe("coverage", JOB_ID).stdout.splitlines()
    signs = bar.removeprefix("00:00.0 ").removesuffix(" 00:10.0")
    assert list(dict.fromkeys(signs)) == ["█", "×", "░", "·"]
    assert signs.count("█") == len(signs) // 2
    assert [line.split() for line in rest] == [
        ["█", "text", "00:05.0", "50.0%"],
        ["×", "dropped", "00:00.5", "5.0%"],
        ["░", "noise", "00:02.5", "25.0%"],
        ["·", "silence", "00:02.0", "20.0%"],
        ["dropped", "00:05.0", "–", "00:05.5", "no_text"],
    ]


def test_coverage_as_json(rayscribe: Command, server: StandIn) -> None:
    assert json.loads(rayscribe("coverage", JOB_ID, "--json").stdout)["totals"]["dropped"] == 0.5


_RUN_ON_A_STAND_IN = """
import sys
from serve_app.cli import failures, main
from serve_app.client import RayScribeClient
from tests.client.standin import StandIn
transport = StandIn().transport
failures.open_client = lambda address, key, **options: RayScribeClient(address, transport=transport, **options)
sys.argv = ["rayscribe", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(
    "words",
    [
        ("transcript", JOB_ID),
        ("transcript", JOB_ID, "--format", "srt"),
        ("jobs",),
        ("search", "exam", "-c", "talks"),
        ("chat", "when", "-c", "talks", "--json"),
        ("watch", JOB_ID, "--json"),
        ("models", "list"),
        ("--help",),
    ],
)
def test_a_reader_that_goes_away_ends_a_command_quietly(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", _RUN_ON_A_STAND_IN, *words]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")
