"""``rayscribe watch``: a job's progress, live."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.failures import JOB_FAILED, connected, fail
from serve_app.cli.options import DEFAULT_SERVER, AsJson, JobId, Key, Server

if TYPE_CHECKING:
    from serve_app.client import RayScribeClient
    from serve_app.client.shapes import JobBody


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
    from serve_app.cli.outcomes import outcome_lines

    for line in outcome_lines(job):
        typer.echo(line)


def _print_events(client: "RayScribeClient", job_id: str, after: int) -> None:
    import json

    for event in client.events(job_id, after=after):
        typer.echo(json.dumps({"id": event.id, "type": event.type, **event.data}))


def _show_events(client: "RayScribeClient", job: "JobBody", after: int) -> None:
    from rich.console import Console

    from serve_app.cli.outcomes import subject
    from serve_app.cli.progress import follow

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
