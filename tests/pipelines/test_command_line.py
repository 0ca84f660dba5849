"""``python -m pipelines``: the flows from a shell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.__main__ import DEMO_MODEL, main
from pipelines.fakes.scripted_speech import write_wav
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
    assert main(["transcribe", LECTURE, "--model", str(tmp_path / "none")]) == 2
    assert f"there is no folder '{tmp_path / 'none'}'" in capsys.readouterr().err
    assert main(["transcribe", LECTURE, "--model", str(tmp_path)]) == 2
    assert "holds no model.bin" in capsys.readouterr().err
    (tmp_path / "model.bin").write_bytes(b"none")
    assert main(["transcribe", LECTURE, "--model", str(tmp_path)]) == 2
    assert "cannot be loaded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--beam-size", "-1"], "must be a whole number from 1 to 20, not '-1'"),
        (["--beam-size", "1000"], "must be a whole number from 1 to 20, not '1000'"),
        (["--threads", "-2"], "must be a whole number from 1 to 256, not '-2'"),
        (["--threads", "many"], "must be a whole number from 1 to 256, not 'many'"),
        (["--language", "englich"], "did you mean 'en' (English)?"),
        (["--language", "xx"], "such as 'en', 'de', 'zh'"),
    ],
)
def test_what_no_model_can_do_is_refused_before_one_is_loaded(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["transcribe", LECTURE, *arguments])
    assert refused.value.code == 2
    assert reason in capsys.readouterr().err


def test_the_best_model_that_was_pulled_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.__main__.MODELS", tmp_path)
    monkeypatch.setattr("pipelines.__main__.ENVIRONMENT_MODELS", tmp_path / "environment")
    for name in ("tiny", "base"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").write_bytes(b"none")
    assert main(["transcribe", LECTURE]) == 2
    assert "'base' cannot be loaded" in capsys.readouterr().err


@pytest.mark.engines
def test_it_is_said_that_nobody_speaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silence = tmp_path / "silence.wav"
    silence.write_bytes(write_wav([], duration_s=3.0))
    assert main(["transcribe", str(silence), "--model", str(DEMO_MODEL), "--language", "EN"]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == ""
    assert printed.err.endswith("silence.wav: nobody speaks in it\n")


@pytest.mark.engines
def test_a_recording_is_transcribed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.__main__.MODELS", tmp_path)
    monkeypatch.setattr("pipelines.__main__.ENVIRONMENT_MODELS", tmp_path / "environment")
    assert main(["transcribe", LECTURE, "--format", "json", "--words", "--beam-size", "1", "--threads", "2"]) == 0
    printed = capsys.readouterr()
    assert "only the demo model is there" in printed.err
    transcript = json.loads(printed.out)
    assert transcript["language"] == "en"
    assert transcript["duration_s"] == pytest.approx(99.88, abs=0.1)
    assert "photosynthesis" in " ".join(segment["text"] for segment in transcript["segments"])
    assert all(segment["words"] for segment in transcript["segments"])


@pytest.mark.engines
def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    silence.write_bytes(write_wav([], duration_s=3.0))
    reading, writing = os.pipe()
    os.close(reading)
    command = [
        sys.executable,
        "-m",
        "pipelines",
        "transcribe",
        str(silence),
        "--model",
        str(DEMO_MODEL),
        "--format=vtt",
    ]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr.strip()) == (141, b"silence.wav: nobody speaks in it")
