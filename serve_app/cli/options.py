"""Options that several commands share."""

import re
from typing import Annotated

import typer

DEFAULT_SERVER = "http://127.0.0.1:8000"
_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _checked_job_id(given: str) -> str:
    # Before anything is asked or sent: an id that is none would be another address of the server.
    if not _JOB_ID.fullmatch(given):
        raise typer.BadParameter(f"{given!r} is no id of a job; `rayscribe jobs` lists them.")
    return given


Server = Annotated[
    str, typer.Option("--server", envvar="RAYSCRIBE_SERVER", help="Address of the server.", metavar="URL")
]
Key = Annotated[
    str | None,
    typer.Option("--api-key", envvar="RAYSCRIBE_API_KEY", help="Best given by the environment.", metavar="KEY"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
JobId = Annotated[
    str, typer.Argument(metavar="ID", callback=_checked_job_id, help="Of a job, as `rayscribe jobs` lists it.")
]
Collections = Annotated[
    list[str], typer.Option("--collection", "-c", help="Where to look; may be repeated.", metavar="NAME")
]
