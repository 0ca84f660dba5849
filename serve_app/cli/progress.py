"""A job followed while it runs."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from serve_app.cli.failures import JOB_FAILED, connected, fail
from serve_app.cli.options import DEFAULT_SERVER, AsJson, JobId, Key, Server
from serve_app.cli.output import clock

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from pipelines.domain.job import JobEvent
    from serve_app.client import RayScribeClient
    from serve_app.client.shapes import JobBody

_ORDER = ("fetch", "prepare", "transcribe", "diarize", "attribute", "enhance", "understand", "index", "answer")
_ENDINGS = {"succeeded": "done", "failed": "failed", "cancelled": "cancelled"}


class JobView(Protocol):
    """Shows one job's events as they come."""

    def show(self, event: "JobEvent") -> None:
        """Take the next event."""
        ...


class LiveBar:
    """One bar: the stage, how far, how long, and the last words heard; finished stages stay above it."""

    def __init__(self, progress: "Progress", label: str) -> None:
        """Add a row to ``progress``."""
        self._progress = progress
        self._label = label
        self._stages = StageChanges()
        self._task: TaskID = progress.add_task(f"{label}  queued", total=1.0, heard="")

    def show(self, event: "JobEvent") -> None:
        """Move the bar."""
        if ended := self._stages.note(event):
            self._progress.console.print(f"  ✓ {ended}", style="green", highlight=False)
        if event.type == "warning":
            self._progress.console.print(f"  ! {_warned(event.data)}", style="yellow", highlight=False)
        heard = _heard(event.data) if event.type == "window" else None
        self._progress.update(
            self._task,
            description=f"{self._label}  {_ENDINGS.get(event.type) or self._stages.current or event.type}",
            completed=1.0 if event.type == "succeeded" else _share(event.data),
            heard="" if event.type in _ENDINGS else heard or self._progress.tasks[self._task].fields["heard"],
        )


class PlainLines:
    """A line for each stage that begins and each window."""

    def __init__(self, console: "Console", label: str) -> None:
        """Write to ``console``."""
        self._console = console
        self._label = label
        self._started = time.monotonic()
        self._stages = StageChanges()

    def show(self, event: "JobEvent") -> None:
        """Print a line where there is something new."""
        before = self._stages.current
        self._stages.note(event)
        if event.type == "window":
            self._line(_heard(event.data))
        elif event.type == "warning":
            self._line(_warned(event.data))
        elif event.type != "stage":
            self._line(event.type)
        elif self._stages.current != before:
            self._line(f"{self._stages.current} ({_share(event.data) or 0:.0%})")

    def _line(self, text: str) -> None:
        elapsed_s = time.monotonic() - self._started
        self._console.print(f"{self._label}  +{elapsed_s:.1f} s  {text}", markup=False, highlight=False, soft_wrap=True)


class StageChanges:
    """Which stage a job is in. Where two run at once, events name the earlier one until it has ended."""

    def __init__(self) -> None:
        """Begin before the first stage."""
        self.current: str | None = None

    def note(self, event: "JobEvent") -> str | None:
        """Take an event, and return the stage that it shows to have ended, if any."""
        stage = event.data.get("stage")
        if event.type in ("stage", "window") and isinstance(stage, str) and stage != self.current:
            before, self.current = self.current, stage
            return before if before in _ORDER and _ORDER.index(before) < _place(stage) else None
        return self.current if event.type == "succeeded" else None


def _place(stage: str) -> int:
    return _ORDER.index(stage) if stage in _ORDER else len(_ORDER)


@contextmanager
def job_view(console: "Console", label: str) -> Iterator[JobView]:
    """Give the view that fits this console."""
    if not console.is_terminal:
        yield PlainLines(console, label)
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[heard]}", style="dim", markup=False, table_column=Column(ratio=1, no_wrap=True)),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        yield LiveBar(progress, label)


def follow(
    client: "RayScribeClient", job_id: str, console: "Console", label: str, *, after: int = -1
) -> "JobEvent | None":
    """Show a job's events until it ends, and return the last one (None: the stream had nothing new)."""
    with job_view(console, label) as view:
        return show_all(client.events(job_id, after=after), view)


def show_all(events: Iterable["JobEvent"], view: JobView) -> "JobEvent | None":
    """Show events until they end, and return the last."""
    event = None
    for event in events:
        view.show(event)
    return event


def _heard(data: Mapping[str, object]) -> str:
    start_s = data.get("start_s")
    return f"{clock(start_s) if isinstance(start_s, (int, float)) else ''}  {data.get('text') or '…'}"


_WARNED = {
    "audio_truncated": "the end of the recording is missing",
    "audio_damaged": "a part of the recording could not be decoded",
    "audio_longer_than_stated": "the recording is longer than its header says",
    "recordings_joined": "the file holds several recordings",
    "tracks_ignored": "further audio tracks were not transcribed",
    "mix_cancelled": "the channels cancel each other: the loudest was taken",
    "times_uncertain": "the recording's clock jumps: times are uncertain from there on",
    "channels_not_split": "one channel is silent, or both hold the same",
    "languages_differ": "more than one language is spoken",
}
"""In a few words, for a line of progress; the job has the whole sentence."""


def _warned(data: Mapping[str, object]) -> str:
    code, start_s = str(data.get("code")), data.get("start_s")
    return f"{_WARNED.get(code, code)}{f' ({clock(start_s)})' if isinstance(start_s, (int, float)) else ''}"


def _share(data: Mapping[str, object]) -> float | None:
    progress = data.get("progress")
    return float(progress) if isinstance(progress, (int, float)) else None


def watch(
    job_id: JobId,
    after: Annotated[int, typer.Option(help="Leave out events up to this id.", metavar="EVENT")] = -1,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Show a job's progress until it ends; leaves with 1 unless it succeeded."""
    with connected(server, api_key) as client:
        ended = follow_job(client, job_id, as_json=as_json, after=after)
        if not as_json and ended["status"] == "succeeded":
            _print_outcome(ended)
        raise_unless_succeeded([ended])


def follow_job(client: "RayScribeClient", job_id: str, *, as_json: bool, after: int = -1) -> "JobBody":
    """Show one job's events until it ends, and return the job as it then is."""
    # Asked first: an unknown job, or a server that is none, is no stream that broke and may come back.
    job = client.job(job_id)
    try:
        if as_json:
            _print_events(client, job_id, after)
        else:
            _show_events(client, job, after)
    except KeyboardInterrupt:
        typer.echo(f"\nThe job goes on. Pick it up again: rayscribe watch {job_id}", err=True)
        raise
    return client.job(job_id)


def raise_unless_succeeded(jobs: Sequence["JobBody"]) -> None:
    """Leave with an exit code for the first job that failed or was cancelled."""
    for job in jobs:
        if job["status"] != "succeeded":
            fail(_why(job), _next_step(job), JOB_FAILED)


def _print_outcome(job: "JobBody") -> None:
    from serve_app.cli.output import outcome_lines

    for line in outcome_lines(job):
        typer.echo(line)


def _print_events(client: "RayScribeClient", job_id: str, after: int) -> None:
    import json

    for event in client.events(job_id, after=after):
        typer.echo(json.dumps({"id": event.id, "type": event.type, **event.data}))


def _show_events(client: "RayScribeClient", job: "JobBody", after: int) -> None:
    from rich.console import Console

    from serve_app.cli.output import subject

    pass

    follow(client, job["id"], Console(stderr=True, highlight=False), subject(job) or job["id"], after=after)


def _why(job: "JobBody") -> str:
    error = job["error"]
    if not error:
        return f"{job['id']} was {job['status']}"
    stage = f" in {error['stage']}" if error.get("stage") else ""
    return f"{job['id']} {job['status']}{stage}: {error['message']} ({error['code']})"


def _next_step(job: "JobBody") -> str | None:
    if job["status"] != "failed":
        return None
    return f"Finished stages are kept: `rayscribe retry {job['id']}` goes on from the last one."
