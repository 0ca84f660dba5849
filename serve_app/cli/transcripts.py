"""``rayscribe transcript``: a finished job as text, subtitles or JSON."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.failures import USAGE, connected, fail
from serve_app.cli.options import DEFAULT_SERVER, JobId, Key, Server

if TYPE_CHECKING:
    from serve_app.client.shapes import SegmentBody


class TranscriptFormat(StrEnum):
    """How a transcript can be written."""

    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"
    MD = "md"


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
        text = client.transcript_text(job_id, form or _by_suffix(output))
    if output is None:
        typer.echo(text, nl=not text.endswith("\n"))
    else:
        _write(output, text)


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        advice = "The transcript stays on the server: name another file with --output."
        fail(f"{typer.format_filename(output)} cannot be written: {error.strerror}", advice, USAGE)


def _by_suffix(output: Path | None) -> TranscriptFormat:
    suffix = output.suffix.lstrip(".").lower() if output else ""
    return TranscriptFormat(suffix) if suffix in set(TranscriptFormat) else TranscriptFormat.TEXT


def _print_readable(segments: "list[SegmentBody]") -> None:
    from rich.console import Console

    from serve_app.cli.wording import print_transcript

    print_transcript(Console(highlight=False), segments)
