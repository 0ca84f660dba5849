"""Options that several commands share."""

from typing import Annotated

import typer

DEFAULT_SERVER = "http://127.0.0.1:8000"

Server = Annotated[
    str, typer.Option("--server", envvar="RAYSCRIBE_SERVER", help="Address of the server.", metavar="URL")
]
Key = Annotated[
    str | None,
    typer.Option("--api-key", envvar="RAYSCRIBE_API_KEY", help="Best given by the environment.", metavar="KEY"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="Of a job, as `rayscribe jobs` lists it.")]
Collections = Annotated[
    list[str], typer.Option("--collection", "-c", help="Where to look; may be repeated.", metavar="NAME")
]
