"""``rayscribe up``: serve the application in the foreground."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.failures import INTERRUPTED, START_FAILED, fail

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
DEFAULT_CONFIG = PROJECT_FOLDER / "configs" / "local.yaml"


def up(
    config: Annotated[
        Path, typer.Option(help="Serve config file.", exists=True, dir_okay=False, show_default="configs/local.yaml")
    ] = DEFAULT_CONFIG,
    port: Annotated[
        int | None, typer.Option(help="HTTP port; without it the config's.", min=1, max=65535, show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data folder; without it the config's.", file_okay=False, show_default=False)
    ] = None,
) -> None:
    """Serve until Ctrl-C, then stop everything that was started."""
    from pipelines.errors import RayScribeError
    from serve_app.cli.configuration import mistakes_said, read_config, settings_of

    document = read_config(config)
    settings_of(document["applications"][0].get("args", {}), config)
    from serve_app.laptop import launch

    _say_busy_port(port or document["http_options"]["port"])
    try:
        with mistakes_said(config):
            launch.run(config, port=port, data=data, progress=_say_progress)
    except (RayScribeError, OSError) as error:
        fail(str(error), "`rayscribe doctor` says what this machine lacks.", START_FAILED)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _say_busy_port(wanted: int) -> None:
    from serve_app.cli.doctor_machine import port_holder, port_is_free

    if not port_is_free(wanted):
        typer.echo(f"Port {wanted} is taken by {port_holder(wanted) or 'another process'}: the next free one is used.")


def _say_progress(states: Mapping[str, str]) -> None:
    ready = sum(state == "HEALTHY" for state in states.values())
    waiting = ", ".join(name for name, state in states.items() if state != "HEALTHY")
    typer.echo(f"{ready} of {len(states)} parts ready" + (f"; starting: {waiting}" if waiting else ""))
