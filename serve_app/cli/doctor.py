"""``rayscribe doctor``: what this machine offers, which models are here, and what each profile would use."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.options import AsJson

if TYPE_CHECKING:
    from serve_app.cli.doctor_machine import Finding, RolePlan
    from serve_app.settings import DataSettings

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


def doctor(
    port: Annotated[int, typer.Option(help="Which port to look at.", min=1, max=65535)] = 8000,
    data: Annotated[
        Path | None, typer.Option(help="Data folder; without it the one of the settings.", file_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at this machine, its models and the profiles; leaves with 1 where something would not work."""
    from serve_app.cli.configuration import settings_of
    from serve_app.cli.doctor_machine import look_at_machine, plan_profiles

    folders = settings_of({}).data.model_copy(update={"folder": data} if data else None)
    findings = look_at_machine(folders.root, port)
    plans = plan_profiles(folders)
    if as_json:
        _print_json(findings, plans, folders)
    else:
        _print(findings, plans, folders)
    raise typer.Exit(1 if any(finding.state == "problem" for finding in findings) else 0)


def _print(findings: list["Finding"], plans: dict[str, list["RolePlan"]], folders: "DataSettings") -> None:
    typer.secho("This machine", bold=True)
    for finding in findings:
        mark, colour = _MARKS[finding.state]
        typer.echo(f"  {typer.style(mark, fg=colour)} {finding.subject:<12} {finding.message}")
        if finding.advice:
            typer.echo(f"    {'':<12} {finding.advice}")
    _print_models(folders)
    for profile, roles in plans.items():
        typer.secho(f"\nThe {profile} profile would use", bold=True)
        for role in roles:
            typer.echo(f"  {role.role:<12} {role.used or 'nothing'} ({role.reason})")


def _print_models(folders: "DataSettings") -> None:
    from serve_app.cli.output import size
    from serve_app.models.catalogue import folder_bytes, models_on_disk

    typer.secho(f"\nModels in {' and '.join(map(str, folders.model_folders))}", bold=True)
    here = models_on_disk(folders.model_folders)
    for entry, folder in here.items():
        typer.echo(f"  {entry.name:<20} {size(folder_bytes(folder)):>9}  {entry.role}")
    if not here:
        typer.echo("  none; `rayscribe models list` says which there are, `rayscribe models pull NAME` brings one")


def _print_json(findings: list["Finding"], plans: dict[str, list["RolePlan"]], folders: "DataSettings") -> None:
    import json
    from dataclasses import asdict

    from serve_app.models.catalogue import folder_bytes, models_on_disk

    on_disk = {entry.name: folder_bytes(folder) for entry, folder in models_on_disk(folders.model_folders).items()}
    profiles = {profile: [asdict(role) for role in roles] for profile, roles in plans.items()}
    report = {"machine": [asdict(finding) for finding in findings], "models": on_disk, "profiles": profiles}
    typer.echo(json.dumps(report, indent=2))
