import io
from typing import Any, get_args

from rich.console import Console

from pipelines.domain.audio import WarningCode
from pipelines.domain.job import JobEvent
from pipelines.jobs.stages import STAGES
from serve_app.cli import progress
from serve_app.cli.output import clock, print_hits, size
from serve_app.cli.progress import job_view, show_all
from tests.client.standin import HIT

EVENTS = (
    JobEvent(id=0, type="queued"),
    JobEvent(id=1, type="started"),
    JobEvent(id=2, type="stage", data={"stage": "prepare", "progress": 0.0}),
    JobEvent(id=3, type="stage", data={"stage": "transcribe", "progress": 0.01}),
    JobEvent(
        id=4, type="window", data={"stage": "transcribe", "progress": 0.4, "start_s": 61.5, "end_s": 70, "text": "Hi"}
    ),
    JobEvent(id=5, type="stage", data={"stage": "diarize", "progress": 0.8}),
    JobEvent(id=6, type="succeeded"),
)


def shown(events: tuple[JobEvent, ...], *, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None, highlight=False)
    with job_view(console, "talk.wav") as view:
        last = show_all(events, view)
    assert last is events[-1]
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_terminal_keeps_finished_stages_and_ends_full() -> None:
    text = shown(EVENTS, terminal=True)
    for stage in ("prepare", "transcribe", "diarize"):
        assert text.count(f"✓ {stage}") == 1
    assert "done" in text
    assert "100%" in text


def test_terminal_says_where_it_failed() -> None:
    text = shown((*EVENTS[:4], JobEvent(id=9, type="failed", data={"message": "no"})), terminal=True)
    assert "failed" in text
    assert "✓ transcribe" not in text
    assert "100%" not in text


def test_stage_that_started_beside_an_earlier_one_has_not_ended() -> None:
    beside = JobEvent(id=2, type="stage", data={"stage": "diarize", "progress": 0.01})
    text = shown((*EVENTS[:3], beside, *EVENTS[3:5]), terminal=True)
    assert "✓ diarize" not in text
    assert "✓ prepare" in text


def test_order_of_stages_is_the_products() -> None:
    assert tuple(stage.name for stage in STAGES) == progress._ORDER[: len(STAGES)]


def test_without_a_terminal_there_are_plain_lines() -> None:
    lines = [line.split(" s  ", 1)[1] for line in shown(EVENTS, terminal=False).splitlines()]
    assert lines == [
        "queued", "started", "prepare (0%)", "transcribe (1%)", "01:01.5  Hi", "diarize (80%)", "succeeded",
    ]  # fmt: skip


def test_words_that_match_stand_out() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    hit: Any = HIT | {"highlights": [{"start": 4, "end": 8}]}
    print_hits(console, [hit])
    file = console.file
    assert isinstance(file, io.StringIO)
    assert "The \x1b[1mexam\x1b[0m is on Friday." in file.getvalue()


def test_clock() -> None:
    assert [clock(value) for value in (0, 5.04, 59.96, 3599.96, 3661.2)] == [
        "00:00.0", "00:05.0", "01:00.0", "1:00:00.0", "1:01:01.2",
    ]  # fmt: skip


def test_size() -> None:
    assert [size(value) for value in (0, 999, 1500, 486_000_000, 2.3e9, 4e12)] == [
        "0 B", "999 B", "2 kB", "486.0 MB", "2.3 GB", "4.0 TB",
    ]  # fmt: skip


def test_warnings_are_said_in_a_few_words_for_every_code() -> None:
    assert set(progress._WARNED) == set(get_args(WarningCode))
    warned = JobEvent(id=5, type="warning", data={"code": "tracks_ignored", "start_s": None})
    late = JobEvent(id=6, type="warning", data={"code": "audio_truncated", "start_s": 61.0})
    for terminal in (True, False):
        text = shown((*EVENTS[:4], warned, late, EVENTS[-1]), terminal=terminal)
        assert "further audio tracks were not transcribed" in text
        assert "the end of the recording is missing (01:01.0)" in text
