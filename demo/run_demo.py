"""`make demo`: a recording goes in, a transcript with speakers and times comes out, and is found again by meaning.

Starts the application in the `local` profile as a process of its own and talks to it over HTTP, as any client would.
With CI=true it leaves after the results: 0 where every step worked, else 1.
"""

import json
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from demo.demo_server import PROJECT_FOLDER, DemoServer, ServerDied, free_port, running_server
from demo.result_lines import (
    answer_lines,
    entity_lines,
    extractive,
    model_lines,
    quality_lines,
    summary_lines,
    verdict,
)
from pipelines.domain.job import JobEvent
from serve_app.cli.doctor_machine import port_holder
from serve_app.cli.output import clock, print_hits, print_transcript, size
from serve_app.cli.progress import job_view, show_all
from serve_app.client import ClientError, RayScribeClient
from serve_app.client.shapes import JobBody

RECORDING = PROJECT_FOLDER / "demo" / "recordings" / "project-meeting.ogg"
DATA_FOLDER = PROJECT_FOLDER / ".rayscribe" / "demo"
COLLECTION = "demo"
FEATURES = ["raw_transcript", "diarization", "word_timestamps", "index", "summary"]
TEMPLATE = "meeting_notes_v1"
CALL = PROJECT_FOLDER / "demo" / "recordings" / "support-call.ogg"
CALL_FEATURES = ["diarization", "summary", "entities", "quality"]
CALL_TEMPLATE = "support_call_v1"
SEARCHES = 3
QUESTIONS = 2
PEOPLE_FEATURES = ["raw_transcript", "diarization", "index"]
PEOPLE_MOMENTS = ({"question": "Who is in Texas?", "start_s": 15.0}, {"question": "Where is Diane?", "start_s": 12.6})
"""Shortly after the words begin, as pyannote.audio's reference beside the recording (sample.stm) has them."""

console = Console(highlight=False)


class StepFailed(Exception):
    """A step did not do what it should; the message says which."""


@dataclass(slots=True)
class Timings:
    """When things happened, in seconds since the server was started."""

    live_s: float = 0.0
    first_window_s: float | None = None
    done_s: float = 0.0


@dataclass(slots=True)
class Demo:
    """One run: the server, a client of it, and what was seen."""

    server: DemoServer
    client: RayScribeClient
    recording: Path
    timings: Timings = field(default_factory=Timings)
    told: list[str] = field(default_factory=list)
    """What the server has said about its start."""

    def start(self) -> None:
        """Wait for the server to answer."""
        with console.status("starting Ray and the application …") as status:
            self.server.wait_until_live(lambda words: self._show_start(status, words))
        self.timings.live_s = self.server.age_s
        say(f"✓ the server answers on {self.server.url} after {self.timings.live_s:.0f} s; models go on loading")

    def _show_start(self, status: Status, words: str) -> None:
        if not words or words in self.told:
            return
        self.told.append(words)
        status.update(f"starting … {words}")
        if not console.is_terminal:
            say(f"+{self.server.age_s:.0f} s  {words}")

    def transcribe(self) -> JobBody:
        """Submit the recording, follow it to its end and return the job."""
        job = self._process(self.recording, FEATURES, template_id=TEMPLATE, collection=COLLECTION)
        self.timings.done_s = self.server.age_s
        return job

    def _process(self, recording: Path, features: list[str], **fields: str) -> JobBody:
        title(f"Submitting {recording.name} ({size(recording.stat().st_size)}): {', '.join(features)}")
        job = self.client.submit(recording, {"features": features, **fields})
        say(f"202 Accepted, job {job['id']}")
        with job_view(console, recording.name) as view:
            show_all(self._timed(self.client.events(job["id"])), view)
        job = self.client.job(job["id"])
        if job["status"] != "succeeded":
            raise StepFailed(f"the job {job['status']}: {job['error']}")
        return job

    def read(self, job: JobBody) -> None:
        """Print the transcript."""
        title("Transcript")
        transcript = self.client.transcript(job["id"])
        if not transcript["segments"]:
            raise StepFailed("the transcript is empty")
        print_transcript(console, transcript["segments"])

    def search(self, job: JobBody) -> None:
        """Ask three questions and print what is found, and whether it is the right moment."""
        title("Search by meaning and by words")
        self._forget_earlier_demos(job, self.recording)
        for question in expected_moments(self.recording)[:SEARCHES]:
            hits = self.client.search(question["question"], [COLLECTION], top_k=3)["hits"]
            if not hits:
                raise StepFailed(f"nothing was found for {question['question']!r}")
            console.print(Text.assemble(("? ", "bold"), (question["question"], "bold"), f"  {verdict(hits, question)}"))
            print_hits(console, hits)

    def ask(self) -> None:
        """Ask two questions and print the answers with the moments that they cite."""
        title("Questions, answered from what was said")
        for question in expected_moments(self.recording)[-QUESTIONS:]:
            self._ask(question)

    def summarize(self, job: JobBody) -> None:
        """Print the summary that was made with the transcript."""
        title(f"Summary ({TEMPLATE})")
        say_all(summary_lines(result_of(job, "summary")))

    def hear_people(self, meeting: JobBody) -> None:
        """Have human speech transcribed and ask for the people by name; unless a demo model runs, which knows none."""
        people = two_women_on_the_telephone()
        if people is None or any(model.get("demo") for model in _models(meeting)):
            title("Left out: human speech, of which the demo models understand nothing")
            return
        job = self._process(people, PEOPLE_FEATURES, collection=COLLECTION)
        self._forget_earlier_demos(job, people)
        self.read(job)
        for question in PEOPLE_MOMENTS:
            self._ask(question)

    def _ask(self, question: Mapping[str, Any]) -> None:
        answer = self.client.chat(question["question"], [COLLECTION])
        cited: Any = answer["citations"]
        console.print(Text.assemble((f"? {question['question']}", "bold"), f"  {verdict(cited, question, 'citation')}"))
        say_all(answer_lines(answer))

    def understand_call(self) -> None:
        """Let another recording be understood: what a call was about, what was named, how well it went."""
        job = self._process(CALL, CALL_FEATURES, template_id=CALL_TEMPLATE)
        say_all(summary_lines(result_of(job, "summary")))
        title("Named in the call")
        say_all(entity_lines(result_of(job, "entities")))
        title("Quality of the call")
        say_all(quality_lines(result_of(job, "quality")))

    def explain(self, job: JobBody) -> None:
        """Say what really ran and how long it took."""
        title("What ran")
        models = model_lines(job)
        for line in models:
            say(line)
        if any("demo model" in line for line in models):
            say("Demo models are real architectures of toy size that know a small vocabulary of synthetic voices.")
            say("For recordings of your own: `rayscribe models pull base ge2e`, then start again.")
        elif any(model.get("model") in ("base", "tiny") for model in _models(job)):
            say("It hears people in 99 languages; `rayscribe models pull small` brings what makes fewer mistakes.")
        if extractive(job):
            say("No language model is configured: summaries and answers are made of the transcript's own sentences.")
        metrics = job["metrics"] or {}
        say(
            f"{clock(metrics.get('input_duration_s') or 0)} of audio in {metrics.get('processing_s') or 0:.1f} s "
            f"(real-time factor {metrics.get('rtf') or 0:.3f}); first words {self._first_words()} after the start"
        )

    def _first_words(self) -> str:
        first = self.timings.first_window_s
        return f"{first:.0f} s" if first is not None else "never"

    def _timed(self, events: Iterator[JobEvent]) -> Iterator[JobEvent]:
        for event in events:
            if event.type == "window" and self.timings.first_window_s is None:
                self.timings.first_window_s = self.server.age_s
            yield event

    def _forget_earlier_demos(self, job: JobBody, recording: Path) -> None:
        """Erase jobs of earlier runs with the same recording, so that each passage is found once."""
        for earlier in self.client.jobs(collection=COLLECTION, limit=100):
            if earlier["id"] != job["id"] and (earlier["recording"] or {}).get("filename") == recording.name:
                self.client.erase(earlier["id"])


def two_women_on_the_telephone() -> Path | None:
    """Return half a minute of human speech that is installed with pyannote.audio; None where it is not."""
    package = find_spec("pyannote.audio")  # found, not imported: that takes seconds
    recording = Path(package.origin).parent / "sample" / "sample.wav" if package and package.origin else None
    return recording if recording and recording.is_file() else None


def _models(job: JobBody) -> list[Mapping[str, Any]]:
    return [model for model in (job["versions"] or {}).values() if isinstance(model, Mapping)]


def expected_moments(recording: Path) -> list[dict[str, Any]]:
    """Return questions about a recording and when the answer is said: what stands beside it."""
    found: list[dict[str, Any]] = json.loads(recording.with_suffix(".json").read_text())["questions"]
    return found


def next_commands(url: str) -> None:
    """Print what to try now."""
    title(f"The server goes on: {url}")
    option = "" if url.endswith(":8000") else f" --server {url}"
    say(f"rayscribe submit YOUR-RECORDING --features diarization --collection mine --follow{option}")
    say(f"rayscribe search 'what does a new server cost' --collection {COLLECTION}{option}")
    say(f"rayscribe chat 'who will fix the database' --collection {COLLECTION}{option}")
    say(f"rayscribe jobs{option}    rayscribe doctor    open {url}/docs")
    say("(in another terminal; `rayscribe` is .venv/bin/rayscribe)   Ctrl-C stops the server.")
    title(f"The page: {url}/")


def title(text: str) -> None:
    """Print a heading."""
    console.print()
    console.print(text, style="bold", soft_wrap=True)


def say(text: str) -> None:
    """Print a line."""
    console.print(f"  {text}", markup=False, soft_wrap=True)


def say_all(lines: Iterable[str]) -> None:
    """Print lines."""
    for line in lines:
        say(line)


def result_of(job: JobBody, feature: str) -> dict[str, Any]:
    """Return what a feature made. Raises StepFailed where there is nothing."""
    result: dict[str, Any] | None = (job["results"] or {}).get(feature)
    if not result:
        raise StepFailed(f"the job made no {feature}")
    return result


def choose_port(wanted: int) -> int:
    """Return the port to use, and say so where it is not the wanted one."""
    port = free_port(wanted)
    if port != wanted:
        say(f"port {wanted} is taken by {port_holder(wanted) or 'another process'}; using {port}")
    return port


def run_steps(demo: Demo) -> None:
    """Do everything once, in order."""
    demo.start()
    job = demo.transcribe()
    demo.read(job)
    demo.search(job)
    demo.ask()
    demo.summarize(job)
    demo.hear_people(job)
    demo.understand_call()
    demo.explain(job)


def main(
    port: Annotated[int, typer.Option(help="HTTP port; the next free one where it is taken.")] = 8000,
    data: Annotated[Path, typer.Option(help="Data folder of the demo.", file_okay=False)] = DATA_FOLDER,
    recording: Annotated[Path, typer.Option(help="What to transcribe.", exists=True, dir_okay=False)] = RECORDING,
) -> None:
    """Run the demo."""
    for name in (signal.SIGINT, signal.SIGTERM):  # also where a shell has switched SIGINT off, for background jobs
        signal.signal(name, signal.default_int_handler)
    stay = os.environ.get("CI", "").lower() != "true"
    title("RayScribe: a meeting goes in, who said what comes out, on this machine alone")
    say(f"data folder {data}")
    try:
        with running_server(choose_port(port), data) as server, RayScribeClient(server.url) as client:
            run_steps(Demo(server, client, recording))
            if stay:
                next_commands(server.url)
                server.wait_until_stopped()
    except KeyboardInterrupt:
        say("stopped")
    except (ClientError, ServerDied, StepFailed) as error:
        console.print(f"✗ {error}", style="red", markup=False)
        say(f"the server's log: {data / 'server.log'}")
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
