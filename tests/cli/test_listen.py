"""``rayscribe listen`` against the application over a real socket."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.fakes.scripted_speech import Utterance, write_wav
from serve_app.settings import Settings
from tests.api.conftest import build_world, listening
from tests.cli.conftest import Command

SPEECH = (
    Utterance(start_s=0.3, end_s=1.5, text="the exam is in june"),
    Utterance(start_s=2.6, end_s=3.4, text="and who will grade it"),
)


@pytest.fixture
def live_server() -> Iterator[str]:
    """An application in a thread of its own: the command has its own event loop."""
    ready, stop, address = threading.Event(), threading.Event(), [""]

    async def main() -> None:
        async with listening(build_world(Settings()).app) as url:
            address[0] = url
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(30)
    yield address[0]
    stop.set()
    thread.join()


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    file = tmp_path / "talk.wav"
    file.write_bytes(write_wav(SPEECH, duration_s=3.6))
    return file


def test_a_file_is_printed_turn_by_turn(rayscribe: Command, live_server: str, talk: Path) -> None:
    result = rayscribe("listen", talk, "--fast", "--server", live_server)
    assert (result.exit_code, result.stdout) == (0, "the exam is in june\nand who will grade it\n")


def test_sound_from_a_pipe_is_taken(rayscribe: Command, live_server: str, talk: Path) -> None:
    result = rayscribe("listen", "-", "--server", live_server, input=talk.read_bytes()[44:])
    assert (result.exit_code, result.stdout) == (0, "the exam is in june\nand who will grade it\n")


def test_scripts_get_every_event(rayscribe: Command, live_server: str, talk: Path) -> None:
    result = rayscribe("listen", talk, "--fast", "--json", "--server", live_server)
    kinds = [json.loads(line)["type"] for line in result.stdout.splitlines()]
    assert kinds[:2] == ["session.created", "session.updated"]
    assert kinds[-1] == "conversation.item.input_audio_transcription.completed"


def test_silence_ends_as_well(rayscribe: Command, live_server: str, tmp_path: Path) -> None:
    file = tmp_path / "silence.wav"
    file.write_bytes(write_wav((), duration_s=2.0))
    result = rayscribe("listen", file, "--fast", "--server", live_server)
    assert (result.exit_code, result.stdout) == (0, "")


def test_what_goes_wrong_is_one_line_and_an_exit_code(rayscribe: Command, live_server: str, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.wav"
    nothing.write_bytes(b"no sound")
    assert rayscribe("listen", tmp_path / "missing.wav", "--server", live_server).exit_code == 2
    assert rayscribe("listen", nothing, "--server", live_server).exit_code == 3
    assert rayscribe("listen", nothing, "--language", "xx", "--server", live_server).exit_code == 3
    assert rayscribe("listen", nothing, "--server", "http://127.0.0.1:1").exit_code == 4
