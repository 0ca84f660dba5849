"""The demo's steps against a stand-in server; the real thing is what CI runs as `make demo`."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo import run_demo
from demo.demo_server import DemoServer
from demo.result_lines import model_lines, quality_lines, summary_lines, verdict
from demo.run_demo import RECORDING, Demo, StepFailed, expected_moments
from serve_app.client import RayScribeClient
from tests.client.standin import HIT, StandIn, event, job, stream

VERSIONS = {
    "pipeline": "0.1.0",
    "asr": {
        "backend": "faster-whisper",
        "model": "demo-asr",
        "compute_type": "int8",
        "checkpoint_hash": "sha256:0123456789abcdef",
        "demo": True,
        "fallback": {
            "stage": "transcribe",
            "wanted": "small",
            "used": "demo-asr",
            "reason": "small: it is not on disk",
        },
    },
    "embedder": {"backend": "flag-embedding", "model": "all-MiniLM-L6-v2", "demo": False, "fallback": None},
}
SAID = {"text": "We decided to wait.", "speaker": "SPEAKER_01", "start_s": 61.0, "end_s": 63.0}
RESULTS: dict[str, Any] = {
    "summary": {
        "title": "Project meeting",
        "participants": ["SPEAKER_00", "SPEAKER_01"],
        "decisions": [SAID] * 5,
        "action_items": [{"task": "Call Bob.", "owner": "Anna", "due": "Friday", "start_s": None, "end_s": None}],
        "open_questions": [],
        "resolution": {"status": "solved", "text": "It was replaced."},
        "customer_mood": None,
    },
    "entities": {"entities": [{"kind": "order_number", "text": "792"}, {"kind": "order_number", "text": "792"}]},
    "quality": {"score": 62.5, "passed": False, "criteria": {"greeting": {"score": 5}, "closing": {"score": 0}}},
}
DEGRADED = [{"stage": "summary", "wanted": "a language model", "used": "extractive", "reason": "none is configured"}]
METRICS = {"input_duration_s": 165.2, "processing_s": 33.0, "rtf": 0.2}


class StartedServer(DemoServer):
    """A server that needs no process."""

    def __init__(self) -> None:
        self.url = "http://127.0.0.1:8000"

    @property
    def age_s(self) -> float:
        return 12.0


@pytest.fixture
def server() -> StandIn:
    standin = StandIn()
    standin.jobs = [job(versions=VERSIONS, metrics=METRICS, results=RESULTS, degraded=DEGRADED)]
    standin.streams.clear()
    for _ in range(2):
        window = event(1, "window", start_s=0.8, end_s=5, text="Good")
        standin.streams.append(stream(event(0, "queued"), window, event(2, "succeeded")))
    return standin


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    text = io.StringIO()
    monkeypatch.setattr(run_demo, "console", Console(file=text, width=200, highlight=False))
    return text


@pytest.fixture
def demo(server: StandIn) -> Iterator[Demo]:
    with RayScribeClient("http://server", transport=server.transport, sleep=server.sleep, patience_s=1.0) as client:
        yield Demo(StartedServer(), client, RECORDING)


def run(demo: Demo) -> None:
    finished = demo.transcribe()
    demo.read(finished)
    demo.search(finished)
    demo.ask()
    demo.summarize(finished)
    demo.understand_call()
    demo.explain(finished)


def test_demo_prints_transcript_hits_and_what_ran(demo: Demo, server: StandIn, printed: io.StringIO) -> None:
    run(demo)
    text = printed.getvalue()
    assert "00:01.2 – 00:04.9  SPEAKER_00  Good morning." in text
    assert text.count("0.812  talk.wav 05:01.2 – 05:18.0  SPEAKER_00  The exam is on Friday.") == 3
    assert "demo-asr (faster-whisper, int8, sha256:0123456789ab) — a demo model, instead of small" in text
    assert text.count("On Friday [1].") == 2
    assert "  [1] talk.wav 01:37.3 – 01:39.0  SPEAKER_00: “Friday”" in text
    assert "order number: 792\n" in text
    assert "62 of 100, not passed" in text
    assert "No language model is configured" in text
    assert "Demo models are real architectures of toy size" in text
    assert "02:45.2 of audio in 33.0 s (real-time factor 0.200); first words 12 s after the start" in text
    assert all(name.encode() in server.bodies[0] for name in ("diarization", "word_timestamps", "index"))


def test_start_is_told_once_a_line_without_a_terminal(
    demo: Demo, printed: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_until_live(on_wait: Callable[[str], None]) -> None:
        for words in ("", "1 of 6 parts ready", "1 of 6 parts ready", "4 of 6 parts ready"):
            on_wait(words)

    monkeypatch.setattr(demo.server, "wait_until_live", wait_until_live)
    demo.start()
    assert printed.getvalue().splitlines() == [
        "  +12 s  1 of 6 parts ready",
        "  +12 s  4 of 6 parts ready",
        "  ✓ the server answers on http://127.0.0.1:8000 after 12 s; models go on loading",
    ]


def heard_by(server: StandIn, name: str, *, demo: bool) -> Any:
    recognizer: Any = VERSIONS["asr"]
    server.jobs[0]["versions"] = {"asr": recognizer | {"model": name, "demo": demo}}
    return server.jobs[0]


def test_people_are_heard_where_a_real_model_runs(demo: Demo, server: StandIn, printed: io.StringIO) -> None:
    meeting = heard_by(server, "base", demo=False)
    demo.hear_people(meeting)
    demo.explain(meeting)
    text = printed.getvalue()
    assert "Submitting sample.wav" in text
    assert "00:01.2 – 00:04.9  SPEAKER_00  Good morning." in text
    assert "? Who is in Texas?  ✗ said at 00:15.0, not among the citations" in text, "the stand-in says something else"
    assert "? Where is Diane?" in text
    assert "It hears people in 99 languages; `rayscribe models pull small`" in text


def test_the_recording_of_people_is_the_installed_packages_own() -> None:
    recording = run_demo.two_women_on_the_telephone()
    assert recording is not None
    assert recording.read_bytes()[:4] == b"RIFF"
    assert "pyannote" in recording.parts


def test_demo_models_are_not_given_what_they_cannot_hear(demo: Demo, server: StandIn, printed: io.StringIO) -> None:
    demo.hear_people(heard_by(server, "demo-asr", demo=True))
    assert printed.getvalue().strip() == "Left out: human speech, of which the demo models understand nothing"
    assert server.bodies == []


def test_real_models_are_not_called_toys(demo: Demo, server: StandIn, printed: io.StringIO) -> None:
    server.jobs[0]["versions"] = {"embedder": VERSIONS["embedder"]}
    run(demo)
    assert "toy size" not in printed.getvalue()


def test_earlier_demos_are_forgotten_before_searching(demo: Demo, server: StandIn, printed: io.StringIO) -> None:
    others = [job(id=name, recording={"filename": file}) for name, file in (("old", RECORDING.name), ("mine", "x.wav"))]
    server.jobs += others
    demo.search(job())  # type: ignore[arg-type]
    assert [request.url.path for request in server.requests if request.method == "DELETE"] == ["/v1/jobs/old"]


@pytest.mark.parametrize(
    "change",
    [
        {"jobs": [job(status="failed", error={"message": "no"})]},
        {"hits": []},
        {"jobs": [job(results=RESULTS | {"summary": None})]},
    ],
)
def test_step_that_fails_fails_the_demo(
    demo: Demo, server: StandIn, printed: io.StringIO, change: dict[str, Any]
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(StepFailed):
        run(demo)


def test_summary_of_any_shape_is_told_with_its_moments() -> None:
    assert list(summary_lines(RESULTS["summary"])) == [
        "title: Project meeting",
        "participants: SPEAKER_00, SPEAKER_01",
        "decisions:",
        *["  – 01:01.0 – 01:03.0  SPEAKER_01  We decided to wait."] * 3,
        "  … and 2 more",
        "action items:",
        "  – Anna, Friday  Call Bob.",
        "resolution: solved — It was replaced.",
    ]


def test_quality_names_each_criterion() -> None:
    assert list(quality_lines(RESULTS["quality"]))[1] == "greeting 5/5 · closing 0/5"


def test_verdict_says_at_which_rank_the_moment_stands() -> None:
    hits: Any = [HIT | {"start_s": 0.0, "end_s": 9.0}, HIT]
    assert verdict(hits, {"start_s": 305.0}) == "✓ said at 05:05.0, hit 2"
    assert verdict(hits, {"start_s": 20.0}).startswith("✗")


def test_sample_recording_has_three_questions_with_moments() -> None:
    moments = expected_moments(RECORDING)
    assert len(moments) >= run_demo.SEARCHES
    assert all(moment["question"] and moment["start_s"] >= 0 for moment in moments)


def test_model_lines_skip_what_is_no_model() -> None:
    assert [line.split()[0] for line in model_lines(job(versions=VERSIONS))] == ["asr", "embedder"]  # type: ignore[arg-type]


def test_next_commands_name_the_server_where_it_is_not_the_default(printed: io.StringIO) -> None:
    run_demo.next_commands("http://127.0.0.1:8001")
    assert "--server http://127.0.0.1:8001" in printed.getvalue()


def test_port_that_is_taken_is_said(printed: io.StringIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run_demo, "free_port", lambda wanted: wanted + 1)
    assert run_demo.choose_port(8000) == 8001
    assert "port 8000 is taken by" in printed.getvalue()
    assert "using 8001" in printed.getvalue()
