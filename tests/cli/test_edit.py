"""Transcripts corrected from a shell."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Command
from tests.client.standin import JOB_ID, TRANSCRIPT, StandIn


@pytest.fixture
def corrections(server: StandIn) -> StandIn:
    """A server whose transcript has revision 1, and takes one correction."""
    server.replies.append(httpx.Response(200, json=TRANSCRIPT, headers={"etag": '"1"'}))
    server.replies.append(httpx.Response(200, json=TRANSCRIPT, headers={"etag": '"2"'}))
    return server


def sent(server: StandIn) -> list[Any]:
    """What was changed, by the bodies of the requests."""
    return [
        json.loads(body)
        for request, body in zip(server.requests, server.bodies, strict=True)
        if request.method == "PATCH"
    ]


def editor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str) -> None:
    """Let $EDITOR be a program that does ``change`` to the text that it is given."""
    script = tmp_path / "editor.py"
    script.write_text(
        "import pathlib, sys\n"
        "file = pathlib.Path(sys.argv[1])\n"
        f"text = file.read_text()\n{change}\nfile.write_text(text)\n"
        "import os\nos.utime(file, (2_000_000_000, 2_000_000_000))\n"
    )
    monkeypatch.setenv("EDITOR", f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}")
    monkeypatch.delenv("VISUAL", raising=False)


def test_what_was_changed_in_the_editor_is_sent_and_nothing_else(
    rayscribe: Command, corrections: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    editor(monkeypatch, tmp_path, "text = text.replace('Good morning', 'Good evening').replace('SPEAKER_01', 'Bob')")
    result = rayscribe("edit", JOB_ID)
    assert result.exit_code == 0, result.output
    assert corrections.requests[-1].headers["if-match"] == '"1"'
    assert sent(corrections) == [{"segments": [{"id": 0, "text": "Good evening."}, {"id": 1, "speaker": "Bob"}]}]
    assert result.stdout == f"{JOB_ID}  revision 2: 2 segments changed\n"


def test_a_line_that_was_deleted_removes_its_segment(
    rayscribe: Command, corrections: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    editor(monkeypatch, tmp_path, "text = ''.join(l for l in text.splitlines(True) if not l.startswith('1 '))")
    rayscribe("edit", JOB_ID)
    assert sent(corrections) == [{"segments": [{"id": 1, "text": ""}]}]


@pytest.mark.parametrize(
    ("change", "words"),
    [("text = text + 'what is this\\n'", "cannot be read"), ("text = text.replace('1 |', '9 |')", "no segment 9")],
)
def test_lines_that_make_no_sense_are_named(
    rayscribe: Command,
    corrections: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    change: str,
    words: str,
) -> None:
    editor(monkeypatch, tmp_path, change)
    result = rayscribe("edit", JOB_ID)
    assert (result.exit_code, sent(corrections)) == (2, [])
    assert words in result.stderr


def test_an_unchanged_text_sends_nothing(
    rayscribe: Command, corrections: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    editor(monkeypatch, tmp_path, "")
    assert rayscribe("edit", JOB_ID).stdout == "Nothing changed.\n"
    assert sent(corrections) == []


def test_no_such_editor(rayscribe: Command, corrections: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "/no/such/editor")
    monkeypatch.delenv("VISUAL", raising=False)
    result = rayscribe("edit", JOB_ID)
    assert result.exit_code == 2
    assert "Set EDITOR" in result.stderr


def test_speakers_are_listed_and_named(rayscribe: Command, server: StandIn) -> None:
    body = {"revision": 1, "data": [{"name": "Diane", "talk_s": 3.7, "segments": 1}]}
    server.replies.extend(httpx.Response(200, json=body, headers={"etag": '"1"'}) for _ in range(3))
    assert rayscribe("speakers", JOB_ID).stdout == "     3.7 s     1  Diane\n"
    assert sent(server) == []
    rayscribe("speakers", JOB_ID, "--rename", "SPEAKER_00=Diane", "--merge", "A, B")
    assert sent(server) == [{"rename": {"SPEAKER_00": "Diane"}, "merge": [["A", "B"]]}]
    assert rayscribe("speakers", JOB_ID, "--rename", "Diane").exit_code == 2
