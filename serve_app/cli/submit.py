"""``rayscribe submit``: recordings become jobs."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.failures import connected, say_error
from serve_app.cli.options import DEFAULT_SERVER, AsJson, Key, Server

if TYPE_CHECKING:
    from rich.progress import Progress

    from serve_app.client import ClientError, RayScribeClient
    from serve_app.client.client import Fields
    from serve_app.client.requests import Progress as SentCallback
    from serve_app.client.shapes import JobBody

_OF_ONE_RECORDING = frozenset({409, 413, 415, 500})
"""Refusals, by status, that say nothing about the next recording."""
_CODES_OF_ONE_RECORDING = frozenset({"audio_too_short", "diarization_too_long"})
_FEATURES_HELP = "What to make, comma-separated or repeated: raw_transcript, diarization, word_timestamps, index, …"


def submit(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE…")],
    features: Annotated[list[str] | None, typer.Option("--features", "-f", help=_FEATURES_HELP)] = None,
    collection: Annotated[str | None, typer.Option("--collection", "-c", help="Index into this collection.")] = None,
    language: Annotated[str | None, typer.Option(help="Spoken language (en, de, …); detected where left out.")] = None,
    template: Annotated[str | None, typer.Option(help="Template of the summary.")] = None,
    priority: Annotated[str | None, typer.Option(help="high, normal or low.")] = None,
    speakers: Annotated[int | None, typer.Option(help="How many speak, where known.", min=1)] = None,
    prompt: Annotated[str | None, typer.Option(help="Names and terms to expect.")] = None,
    channels: Annotated[str | None, typer.Option(help="Two channels: auto, mix, or split (one speaker each).")] = None,
    enhance: Annotated[str | None, typer.Option(help="Rewrite clean_transcript: auto, always or never.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Submitting again under it finds the same jobs.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show progress, then the transcript.")] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Submit recordings; each becomes a job.

    One that is refused does not keep the others back: the exit code is that of the first one.
    """
    fields = _fields(
        features=_feature_list(features, collection),
        collection=collection,
        language=language,
        template_id=template,
        priority=priority,
        num_speakers=speakers,
        prompt=prompt,
        channels=channels,
        enhance=enhance,
    )
    with connected(server, api_key) as client:
        submission = _Submission(client, server, fields, idempotency_key, as_json=as_json and not follow)
        jobs, exit_code = submission.submit_all(files)
        if follow:
            _follow_all(client, jobs, as_json)
    if exit_code:
        raise typer.Exit(exit_code)


def _feature_list(features: list[str] | None, collection: str | None) -> list[str] | None:
    named = [name.strip() for value in features or () for name in value.split(",") if name.strip()]
    if collection and "index" not in named:
        named = [*(named or ["raw_transcript"]), "index"]
    return named or None


def _fields(**values: str | int | list[str] | None) -> "Fields":
    return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Submission:
    """Recordings that are submitted alike."""

    client: "RayScribeClient"
    server: str
    fields: "Fields"
    key: str | None
    as_json: bool

    def submit_all(self, files: Sequence[Path]) -> tuple[list["JobBody"], int]:
        """Print each job as soon as it is acknowledged; return them, and the exit code of the first refusal.

        Leaves where going on would only fail again.
        """
        from serve_app.client import ClientError

        jobs: list[JobBody] = []
        exit_codes: list[int] = []
        for place, file in enumerate(files):
            try:
                jobs.append(self._upload(file, _key_of(self.key, file, len(files))))
            except ClientError as error:
                exit_codes.append(say_error(error, self.server, subject=typer.format_filename(file)))
                if not _is_of_one_recording(error):
                    _say_not_sent(files[place + 1 :])
                    raise typer.Exit(exit_codes[0]) from None
            else:
                _report(jobs[-1], self.as_json)
        return jobs, exit_codes[0] if exit_codes else 0

    def _upload(self, file: Path, key: str | None) -> "JobBody":
        with _bar() as bar:
            return self.client.submit(file, self.fields, idempotency_key=key, on_sent=_advance(bar, file))


def _is_of_one_recording(error: "ClientError") -> bool:
    from serve_app.client import FileUnreadable, RequestRefused

    if not isinstance(error, RequestRefused):
        return isinstance(error, FileUnreadable)
    return error.status in _OF_ONE_RECORDING or error.code in _CODES_OF_ONE_RECORDING


def _say_not_sent(files: Sequence[Path]) -> None:
    if files:
        typer.echo(f"  Not sent: {', '.join(map(typer.format_filename, files))}", err=True)


def _key_of(key: str | None, file: Path, count: int) -> str | None:
    """Return a key of this file's own where there are several: of its path, so that the command can be repeated."""
    if not key or count == 1:
        return key
    return f"{key}/{hashlib.sha256(os.fsencode(file.absolute())).hexdigest()[:32]}"


def _bar() -> "AbstractContextManager[Progress]":
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _advance(bar: "Progress", file: Path) -> "SentCallback":
    task = bar.add_task(f"sending {typer.format_filename(file.name)}", total=None)

    def on_sent(sent: int, total: int) -> None:
        bar.update(task, completed=sent, total=total)

    return on_sent


def _report(job: "JobBody", as_json: bool) -> None:
    import json

    from serve_app.cli.output import subject

    typer.echo(json.dumps(job) if as_json else f"{job['id']}  {subject(job)}  {job['status']}")


def _follow_all(client: "RayScribeClient", jobs: list["JobBody"], as_json: bool) -> None:
    from serve_app.cli.progress import follow_job, raise_unless_succeeded

    ended = [follow_job(client, job["id"], as_json=as_json) for job in jobs]
    for job in ended:
        if job["status"] == "succeeded" and not as_json:
            _print_transcript(client, job)
    raise_unless_succeeded(ended)


def _print_transcript(client: "RayScribeClient", job: "JobBody") -> None:
    from rich.console import Console

    from serve_app.cli.output import print_transcript

    print_transcript(Console(highlight=False), client.transcript(job["id"])["segments"])
