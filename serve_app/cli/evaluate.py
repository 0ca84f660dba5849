"""``rayscribe evaluate``: recordings whose words are known, transcribed by a server and measured."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.failures import JOB_FAILED, USAGE, connected, fail
from serve_app.cli.options import DEFAULT_SERVER, AsJson, Key, Server

if TYPE_CHECKING:
    from pipelines.evaluation.evaluate import Measured
    from pipelines.evaluation.references import Row
    from serve_app.client import RayScribeClient

_FIGURES = {
    "wer": "Word errors",
    "cer": "Character errors",
    "cpwer": "Word errors by speaker (cpWER)",
    "der": "Speaker errors (DER, no collar)",
    "der_collar": "Speaker errors (DER, collar 0.25 s)",
    "jer": "Jaccard errors (JER)",
    "speakers_right": "Recordings with the right count of speakers",
    "word_time_error_s": "Word starts off by, median, s",
    "calibration_error": "Confidence off by (ECE)",
    "rtf": "Processing time ÷ duration",
}
_SECONDS = frozenset({"word_time_error_s", "rtf"})


def evaluate(
    manifest: Annotated[
        Path,
        typer.Argument(
            exists=True, metavar="MANIFEST", help="Tab-separated: recording, text or its file, language; or a folder."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for results.jsonl, report.json and report.html.")
    ] = Path("evaluation"),
    language: Annotated[str | None, typer.Option(help="Spoken in recordings that the manifest says none of.")] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Transcribe recordings whose words are known, and measure the transcripts.

    What is done is kept in the output folder: the same command goes on where it was stopped. A recording that fails is
    named and left out, and makes the exit code 1.
    """
    from pipelines.errors import InvalidRequest
    from pipelines.evaluation.references import read_manifest

    try:
        rows = read_manifest(manifest)
        output.mkdir(parents=True, exist_ok=True)
    except (InvalidRequest, OSError, UnicodeDecodeError) as error:
        fail(f"{typer.format_filename(manifest)} cannot be used: {error}", "See `rayscribe evaluate --help`.", USAGE)
    with connected(server, api_key) as client:
        failures = _transcribe_all(client, rows, output / "results.jsonl", language)
    measured = _measure_all(rows, _kept(output / "results.jsonl"), failures)
    summary = _write(output, measured, failures)
    if as_json:
        typer.echo(json.dumps({"summary": summary, "failures": failures}, indent=2))
    else:
        _print(summary, failures, output)
    if failures:
        raise typer.Exit(JOB_FAILED)


def _kept(results: Path) -> dict[str, dict[str, Any]]:
    """Return what earlier runs have transcribed, by recording; a line that was cut off does not count."""
    kept: dict[str, dict[str, Any]] = {}
    for line in results.read_text().splitlines() if results.is_file() else ():
        try:
            entry = json.loads(line)
            kept[entry["audio"]] = entry
        except (ValueError, KeyError, TypeError):
            continue
    return kept


def _transcribe_all(
    client: "RayScribeClient", rows: "Sequence[Row]", results: Path, language: str | None
) -> dict[str, str]:
    """Transcribe what no earlier run has, one after another, and keep each at once; return what failed, and why."""
    from pipelines.errors import InvalidRequest
    from pipelines.evaluation.references import read_reference
    from serve_app.client import FileUnreadable, RequestRefused

    done, failures = _kept(results), dict[str, str]()
    with results.open("a") as file:
        for row in _with_progress(rows):
            if row.name in done:
                continue
            try:
                turns = read_reference(row).turns
                entry = _transcribed(client, row, language, diarize=bool(turns))
            except (InvalidRequest, OSError, UnicodeDecodeError, _JobFailed, FileUnreadable) as error:
                failures[row.name] = str(error)
            except RequestRefused as error:
                if error.busy or error.status in (401, 403):
                    raise  # the next one would be refused as well
                failures[row.name] = str(error)
            else:
                file.write(json.dumps({"audio": row.name, **entry}) + "\n")
                file.flush()
    return failures


class _JobFailed(Exception):
    """A recording was taken, and no transcript came of it."""


def _transcribed(client: "RayScribeClient", row: "Row", language: str | None, *, diarize: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"features": ["raw_transcript", "word_timestamps", *(["diarization"] if diarize else [])]}
    if spoken := row.language or language:
        fields["language"] = spoken
    job_id = client.submit(row.audio, fields)["id"]
    for _ in client.events(job_id):
        pass
    job = client.job(job_id)
    if job["status"] != "succeeded":
        raise _JobFailed((job["error"] or {}).get("message") or f"the job was {job['status']}")
    return {"job_id": job_id, "transcript": client.transcript(job_id), "rtf": (job["metrics"] or {}).get("rtf")}


def _with_progress(rows: "Sequence[Row]") -> "Iterable[Row]":
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(rows, "transcribing", console=console, transient=True, disable=not console.is_terminal)


def _measure_all(
    rows: "Sequence[Row]", kept: Mapping[str, dict[str, Any]], failures: dict[str, str]
) -> "list[Measured]":
    from pipelines.domain.encoding import from_plain
    from pipelines.domain.transcript import Transcript
    from pipelines.errors import InvalidRequest
    from pipelines.evaluation.evaluate import measure_transcript
    from pipelines.evaluation.references import read_reference

    measured = []
    for row in rows:
        entry = kept.get(row.name)
        if entry is None or row.name in failures:
            continue
        try:
            transcript = from_plain(Transcript, entry["transcript"])
            measured.append(measure_transcript(row.name, read_reference(row), transcript, entry.get("rtf")))
        except (InvalidRequest, OSError, ValueError, KeyError) as error:
            failures[row.name] = str(error)
    return measured


def _write(output: Path, measured: "Sequence[Measured]", failures: Mapping[str, str]) -> Mapping[str, Any]:
    from pipelines.domain.encoding import to_plain
    from pipelines.evaluation.evaluate import summarize
    from pipelines.evaluation.page import write_page

    summary = summarize(measured)
    report = {"summary": summary, "recordings": [to_plain(each) for each in measured], "failures": dict(failures)}
    try:
        (output / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        (output / "report.html").write_text(write_page(summary, measured, failures, output))
    except OSError as error:
        fail(f"{typer.format_filename(output)} cannot be written: {error.strerror}", "Choose another --output.", USAGE)
    return summary


def _print(summary: Mapping[str, Any], failures: Mapping[str, str], output: Path) -> None:
    from serve_app.cli.output import aligned, clock

    rows = [
        (label, f"{value:.3f}" if name in _SECONDS else f"{value:.2%}")
        for name, label in _FIGURES.items()
        if (value := summary[name]) is not None
    ]
    typer.echo(f"{summary['recordings']} recordings, {clock(summary['duration_s'])}")
    for line in aligned(rows) if rows else ():
        typer.echo(f"  {line}")
    for name, why in failures.items():
        typer.secho(f"✗ {name}: {why}", err=True, fg=typer.colors.RED)
    typer.echo(f"Differences to read and hear: {typer.format_filename(output / 'report.html')}")
