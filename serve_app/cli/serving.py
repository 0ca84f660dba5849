"""``rayscribe up``: serve the application in the foreground."""

from pathlib import Path
from typing import Annotated

import typer

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
    # A module name that is looked up when it is needed: this one imports Ray.
    from serve_app import launch

    launch.run(config, port=port, data=data)
