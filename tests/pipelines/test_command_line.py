"""``python -m pipelines``: the flows from a shell."""

import json
from pathlib import Path

import pytest

from pipelines.__main__ import main
from tests.audio.recordings import RECORDINGS

LECTURE = str(RECORDINGS / "biology-lecture.ogg")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"Dear all,\n" * 100, "not an audio or video file"),
        (b"RIFF\x00\x00", "damaged or cut off"),
    ],
)
def test_rubbish_is_one_line_and_exit_code_2(
    content: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.wav"
    clip.write_bytes(content)
    assert main(["transcribe", str(clip)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("clip.wav: ")
    assert reason in printed.err
    assert printed.err.count("\n") == 1


def test_a_missing_file_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", str(tmp_path / "none.wav")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_a_missing_model_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", LECTURE, "--model", str(tmp_path)]) == 2
    assert "cannot be loaded" in capsys.readouterr().err


@pytest.mark.engines
def test_a_recording_is_transcribed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", LECTURE, "--format", "json", "--words", "--beam-size", "1", "--threads", "2"]) == 0
    transcript = json.loads(capsys.readouterr().out)
    assert transcript["language"] == "en"
    assert transcript["duration_s"] == pytest.approx(99.88, abs=0.1)
    assert "photosynthesis" in " ".join(segment["text"] for segment in transcript["segments"])
    assert all(segment["words"] for segment in transcript["segments"])
