"""``rayscribe submit``: recordings become jobs."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.failures import connected
from serve_app.cli.options import DEFAULT_SERVER, AsJson, Key, Server

if TYPE_CHECKING:
    from rich.progress import Progress

    from serve_app.client import RayScribeClient
    from serve_app.client.client import Fields
    from serve_app.client.shapes import JobBody
    from serve_app.client.upload import Progress as SentCallback

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
    idempotency_key: Annotated[str | None, typer.Option(help="Submitting again under it finds the same job.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show progress, then the transcript.")] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Submit recordings; each becomes a job."""
    fields = _fields(
        features=_feature_list(features, collection),
        collection=collection,
        language=language,
        template_id=template,
        priority=priority,
        num_speakers=speakers,
        prompt=prompt,
    )
    with connected(server, api_key) as client:
        jobs = [_upload(client, file, fields, _key_of(idempotency_key, file, len(files))) for file in files]
        _report(jobs, as_json and not follow)
        if follow:
            _follow_all(client, jobs, as_json)


def _feature_list(features: list[str] | None, collection: str | None) -> list[str] | None:
    named = [name.strip() for value in features or () for name in value.split(",") if name.strip()]
    if collection and "index" not in named:
        named = [*(named or ["raw_transcript"]), "index"]
    return named or None


def _fields(**values: str | int | list[str] | None) -> "Fields":
    return {name: value for name, value in values.items() if value is not None}


def _key_of(key: str | None, file: Path, count: int) -> str | None:
    return f"{key}/{file.name}" if key and count > 1 else key


def _upload(client: "RayScribeClient", file: Path, fields: "Fields", key: str | None) -> "JobBody":
    with _bar() as bar:
        return client.submit(file, fields, idempotency_key=key, on_sent=_advance(bar, file))


def _bar() -> "AbstractContextManager[Progress]":
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _advance(bar: "Progress", file: Path) -> "SentCallback":
    task = bar.add_task(f"sending {file.name}", total=None)

    def on_sent(sent: int, total: int) -> None:
        bar.update(task, completed=sent, total=total)

    return on_sent


def _report(jobs: list["JobBody"], as_json: bool) -> None:
    import json

    from serve_app.cli.outcomes import subject

    for job in jobs:
        if as_json:
            typer.echo(json.dumps(job))
        else:
            typer.echo(f"{job['id']}  {subject(job)}  {job['status']}")


def _follow_all(client: "RayScribeClient", jobs: list["JobBody"], as_json: bool) -> None:
    from serve_app.cli.watch import follow_job, raise_unless_succeeded

    ended = [follow_job(client, job["id"], as_json=as_json) for job in jobs]
    for job in ended:
        if job["status"] == "succeeded" and not as_json:
            _print_transcript(client, job)
    raise_unless_succeeded(ended)


def _print_transcript(client: "RayScribeClient", job: "JobBody") -> None:
    from rich.console import Console

    from serve_app.cli.wording import print_transcript

    print_transcript(Console(highlight=False), client.transcript(job["id"])["segments"])
