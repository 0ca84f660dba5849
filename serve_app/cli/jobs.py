"""Commands about jobs and their transcripts."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.failures import USAGE, connected, fail
from serve_app.cli.options import DEFAULT_SERVER, AsJson, JobId, Key, Server

if TYPE_CHECKING:
    from serve_app.client.shapes import JobBody, SegmentBody


def list_jobs(
    status: Annotated[
        str | None, typer.Option(help="Only these: queued, running, succeeded, failed or cancelled.")
    ] = None,
    collection: Annotated[str | None, typer.Option("--collection", "-c", help="Only of this collection.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """List jobs, newest first."""
    with connected(server, api_key) as client:
        found = client.jobs(status=status, collection=collection, limit=limit)
    if as_json:
        _print_json(found)
    elif found:
        _print_table(found)
    else:
        typer.echo("No jobs. Submit a recording: rayscribe submit FILE --follow")


def cancel(job_id: JobId, as_json: AsJson = False, server: Server = DEFAULT_SERVER, api_key: Key = None) -> None:
    """Stop a job that has not ended."""
    with connected(server, api_key) as client:
        _say(client.cancel(job_id), as_json)


def retry(job_id: JobId, as_json: AsJson = False, server: Server = DEFAULT_SERVER, api_key: Key = None) -> None:
    """Let a failed job go on from its last finished stage."""
    with connected(server, api_key) as client:
        _say(client.retry(job_id), as_json)


def erase(
    job_id: JobId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Remove a job with all that belongs to it, for good: recording, transcript and passages."""
    if not yes:
        typer.confirm(f"Erase {job_id}, its recording, transcript and passages for good?", abort=True)
    with connected(server, api_key) as client:
        client.erase(job_id)
    typer.echo(f"{job_id}  erased")


def _say(job: "JobBody", as_json: bool) -> None:
    if as_json:
        _print_json(job)
    else:
        typer.echo(f"{job['id']}  {job['status']}")


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))


def _print_table(found: list["JobBody"]) -> None:
    from serve_app.cli.output import aligned

    header = ("ID", "STATUS", "STAGE", "CREATED", "ABOUT", "COLLECTION")
    for line in aligned([header, *map(_row, found)]):
        typer.echo(line)


def _row(job: "JobBody") -> tuple[str, ...]:
    from serve_app.cli.output import subject

    stage = f"{job['stage']} {job['progress']:.0%}" if job["stage"] else ""
    if job["queue_position"]:
        stage = f"waiting, {job['queue_position']}."
    return (
        job["id"],
        job["status"],
        stage,
        job["created_at"][:16].replace("T", " "),
        subject(job),
        job["collection"] or "",
    )


class TranscriptFormat(StrEnum):
    """How a transcript can be written."""

    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"
    MD = "md"
    RTTM = "rttm"
    STM = "stm"
    CTM = "ctm"
    SEGLST = "seglst"
    DOCX = "docx"


def transcript(
    job_id: JobId,
    form: Annotated[
        TranscriptFormat | None, typer.Option("--format", help="Without it: time, speaker and text for reading.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.", dir_okay=False)] = None,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Print a transcript with speakers and times."""
    with connected(server, api_key) as client:
        if form is None and output is None:
            _print_readable(client.transcript(job_id)["segments"])
            return
        if form is TranscriptFormat.DOCX and output is None:
            fail("a Word document is no text", "Name a file for it with --output.", USAGE)
        content = client.transcript_file(job_id, form or _by_suffix(output))
    if output is None:
        typer.echo(content, nl=not content.endswith(b"\n"))
    else:
        _write(output, content)


def _write(output: Path, content: bytes) -> None:
    try:
        output.write_bytes(content)
    except OSError as error:
        advice = "The transcript stays on the server: name another file with --output."
        fail(f"{typer.format_filename(output)} cannot be written: {error.strerror}", advice, USAGE)


def _by_suffix(output: Path | None) -> TranscriptFormat:
    suffix = output.suffix.lstrip(".").lower() if output else ""
    return TranscriptFormat(suffix) if suffix in set(TranscriptFormat) else TranscriptFormat.TEXT


def _print_readable(segments: "list[SegmentBody]") -> None:
    from rich.console import Console

    from serve_app.cli.output import print_transcript

    print_transcript(Console(highlight=False), segments)


def coverage(job_id: JobId, as_json: AsJson = False, server: Server = DEFAULT_SERVER, api_key: Key = None) -> None:
    """Draw what became of every second of a recording: text, dropped speech, noise, silence."""
    with connected(server, api_key) as client:
        ledger = client.coverage(job_id)
    if as_json:
        _print_json(ledger)
        return
    from rich.console import Console

    from serve_app.cli.output import print_coverage

    print_coverage(Console(highlight=False), ledger)
