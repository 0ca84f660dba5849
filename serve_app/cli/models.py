"""``rayscribe models``: which models are there, and the only command that downloads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.failures import REFUSED, UNREACHABLE, connected, fail
from serve_app.cli.options import DEFAULT_SERVER, AsJson, Key, Server

if TYPE_CHECKING:
    from serve_app.client.shapes import ModelsBody
    from serve_app.models.catalogue import CatalogueEntry

app = typer.Typer(help="See which models are there, and download more.", no_args_is_help=True)

ModelsFolder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        envvar="RAYSCRIBE_DATA__MODELS_FOLDER",
        help="Models folder; without it the one in the data folder.",
        file_okay=False,
    ),
]


@app.command("list")
def list_models(
    running: Annotated[bool, typer.Option("--running", help="Those that a server has loaded.")] = False,
    folder: ModelsFolder = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """List the models that can be had and whether they are on disk, or those that a server runs."""
    if running:
        with connected(server, api_key) as client:
            rows = _running_rows(client.models())
    else:
        rows = _catalogue_rows(_models_folder(folder))
    if as_json:
        import json

        typer.echo(json.dumps(rows, indent=2))
    else:
        _print_table(rows)


@app.command("pull")
def pull_models(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="As `rayscribe models list` names them.")],
    folder: ModelsFolder = None,
    token: Annotated[
        str | None, typer.Option(envvar="HF_TOKEN", help="For gated models; best given by the environment.")
    ] = None,
) -> None:
    """Download models into the models folder, at pinned revisions."""
    from serve_app.models.download import DownloadFailed, HubUnreachable, pull

    target = _models_folder(folder)
    for entry in [_entry(name) for name in names]:
        if entry.gated and not token:
            _say_gated(entry)
        _say_start(entry, target)
        try:
            pull(entry, target, token=token)
        except DownloadFailed as error:
            fail(error.message, error.advice, UNREACHABLE if isinstance(error, HubUnreachable) else REFUSED)
        typer.echo(f"{entry.name} is ready; a server that starts from now on uses it where its chain names it.")


def _entry(name: str) -> "CatalogueEntry":
    from serve_app.models.catalogue import CATALOGUE, find

    entry = find(name)
    if entry is None:
        fail(f"no model is called {name}", f"Known: {', '.join(known.name for known in CATALOGUE)}", 2)
    return entry


def _say_gated(entry: "CatalogueEntry") -> None:
    from serve_app.models.download import how_to_get_access

    fail(f"{entry.name} needs a token", how_to_get_access(entry), REFUSED)


def _say_start(entry: "CatalogueEntry", target: Path) -> None:
    from serve_app.cli.output import size

    typer.echo(f"{entry.name}: about {size(entry.bytes)} from {entry.repository}, {entry.licence}, to {target}")


def _models_folder(folder: Path | None) -> Path:
    from serve_app.cli.configuration import settings_of
    from serve_app.settings import DataSettings

    return DataSettings(models_folder=folder).models if folder else settings_of({}).data.models


def _catalogue_rows(folder: Path) -> list[dict[str, Any]]:
    from serve_app.cli.output import size
    from serve_app.models.catalogue import CATALOGUE, folder_bytes, missing_files

    return [
        {
            "name": entry.name,
            "role": entry.role,
            "download": size(entry.bytes),
            "licence": entry.licence + (", gated" if entry.gated else ""),
            "on disk": "" if missing_files(entry, folder / entry.name) else size(folder_bytes(folder / entry.name)),
            "description": entry.description,
        }
        for entry in CATALOGUE
    ]


def _running_rows(body: "ModelsBody") -> list[dict[str, Any]]:
    return [
        {
            "role": model["role"],
            "name": model.get("name") or model["status"],
            "backend": model["id"],
            "compute type": model.get("compute_type") or "",
            "device": model.get("device") or "",
            "instead of": (model.get("fallback") or {}).get("wanted", ""),
            "description": model.get("description", ""),
        }
        for model in body["models"]
    ]


def _print_table(rows: list[dict[str, Any]]) -> None:
    from serve_app.cli.output import aligned

    header = [name.upper() for name in rows[0]] if rows else []
    for line in aligned([header, *([str(value) for value in row.values()] for row in rows)]):
        typer.echo(line)
