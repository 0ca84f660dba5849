"""Correcting a transcript: in an editor, as plain lines; speakers by name."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.failures import USAGE, connected, fail
from serve_app.cli.options import DEFAULT_SERVER, AsJson, JobId, Key, Server

if TYPE_CHECKING:
    from serve_app.client.shapes import SegmentBody

_HELP = """\
# Change words and names, and save. The number and the time at the beginning of a line stay as they are.
# A line without text, and a line that you delete, is removed from the transcript. Lines that begin with # are not read.
"""
_LINE = re.compile(r"\s*(\d+)\s*\|[^|]*\|([^|]*)\|(.*)")


def edit(job_id: JobId, server: Server = DEFAULT_SERVER, api_key: Key = None) -> None:
    """Open a transcript in $EDITOR, and apply what was changed as a new revision."""
    import click

    with connected(server, api_key) as client:
        transcript, revision = client.transcript_and_revision(job_id)
    before = transcript["segments"]
    try:
        written = click.edit(_HELP + "".join(map(_as_line, before)), extension=".txt", require_save=True)
    except click.ClickException as error:
        fail(f"the editor cannot be used: {error.message}", "Set EDITOR to the editor you use.", USAGE)
    changes = [] if written is None else _changes(before, written)
    if not changes:
        typer.echo("Nothing changed.")
        return
    with connected(server, api_key) as client:
        corrected = client.correct(job_id, changes, revision)
    segments = "segment" if len(changes) == 1 else "segments"
    typer.echo(f"{job_id}  revision {corrected}: {len(changes)} {segments} changed")


def speakers(
    job_id: JobId,
    rename: Annotated[list[str] | None, typer.Option(help="OLD=NEW; several times.")] = None,
    merge: Annotated[list[str] | None, typer.Option(help="A,B: B is A; several times.")] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """List who speaks in a recording, and name or merge them."""
    edits: dict[str, Any] = {}
    if rename:
        edits["rename"] = dict(_pair(entry) for entry in rename)
    if merge:
        edits["merge"] = [[name.strip() for name in entry.split(",")] for entry in merge]
    with connected(server, api_key) as client:
        found, revision = client.speakers(job_id)
        if edits:
            found = client.change_speakers(job_id, edits, revision)
    if as_json:
        import json

        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for speaker in found:
        typer.echo(f"{speaker['talk_s']:8.1f} s  {speaker['segments']:4d}  {speaker['name']}")
    if not found:
        typer.echo("Nobody is told apart in this recording: submit it with --features diarization.")


def _as_line(segment: "SegmentBody") -> str:
    from serve_app.cli.output import clock

    return f"{segment['id']} | {clock(segment['start_s'])} | {segment['speaker'] or ''} | {segment['text']}\n"


def _changes(before: "list[SegmentBody]", written: str) -> list[dict[str, Any]]:
    """Return what differs, as the API takes it. Ends the command for a line that cannot be read."""
    found: dict[int, tuple[str, str]] = {}
    for line in written.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            fail(f"this line cannot be read: {line[:60]}", "A line is: number | time | speaker | text.", USAGE)
        found[int(match[1])] = (match[2].strip(), match[3].strip())
    if strangers := found.keys() - {segment["id"] for segment in before}:
        fail(f"there is no segment {min(strangers)}", "The number at the beginning of a line stays as it is.", USAGE)
    changes = []
    for segment in before:
        speaker, text = found.get(segment["id"], (segment["speaker"] or "", ""))
        change: dict[str, Any] = {}
        if text != segment["text"]:
            change["text"] = text
        if speaker != (segment["speaker"] or ""):
            change["speaker"] = speaker
        if change:
            changes.append({"id": segment["id"], **change})
    return changes


def _pair(entry: str) -> tuple[str, str]:
    old, sign, new = entry.partition("=")
    if not sign:
        fail(f"{entry!r} is no OLD=NEW", "For example: --rename SPEAKER_00=Diane", USAGE)
    return old.strip(), new.strip()
