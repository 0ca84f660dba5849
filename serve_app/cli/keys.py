"""``rayscribe keys`` and ``rayscribe usage``: who may call, and what was used."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.failures import connected
from serve_app.cli.options import DEFAULT_SERVER, AsJson, Key, Server

if TYPE_CHECKING:
    from serve_app.client.shapes import KeyBody, NewKeyBody

app = typer.Typer(help="Make, list, rotate and revoke keys.", no_args_is_help=True)
KeyId = Annotated[str, typer.Argument(metavar="ID", help="Of a key, as `rayscribe keys list` lists it.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Another tenant's; needs the scope operator.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What you call it.")],
    scopes: Annotated[
        list[str], typer.Option("--scope", "-s", help="What it may do, as jobs:read; may be repeated.", metavar="SCOPE")
    ],
    days: Annotated[int | None, typer.Option("--days", help="It ends after so many; without it, never.", min=1)] = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Make a key and print it: this once. It can do no more than your own."""
    expires_at = (datetime.now(UTC) + timedelta(days=days)).isoformat() if days else None
    with connected(server, api_key) as client:
        _show(client.create_key(name, scopes, expires_at=expires_at, tenant=tenant), as_json)


@app.command("list")
def list_keys(
    tenant: Tenant = None, as_json: AsJson = False, server: Server = DEFAULT_SERVER, api_key: Key = None
) -> None:
    """List keys by their first characters, oldest first."""
    with connected(server, api_key) as client:
        found = client.keys(tenant=tenant)
    if as_json:
        _print_json(found)
    elif found:
        _print_aligned([("ID", "PREFIX", "STATUS", "EXPIRES", "NAME", "SCOPES"), *map(_row, found)])
    else:
        typer.echo("No keys. Make one: rayscribe keys create NAME --scope jobs:read")


@app.command("revoke")
def revoke(key_id: KeyId, tenant: Tenant = None, server: Server = DEFAULT_SERVER, api_key: Key = None) -> None:
    """End a key: within seconds, for good."""
    with connected(server, api_key) as client:
        ended = client.revoke_key(key_id, tenant=tenant)
    typer.echo(f"{ended['id']}  {ended['status']}")


@app.command("rotate")
def rotate(
    key_id: KeyId,
    overlap_s: Annotated[float, typer.Option("--overlap", help="Seconds for which both open.", min=0)] = 0.0,
    tenant: Tenant = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Replace a key by one of the same scopes, and print that: this once."""
    with connected(server, api_key) as client:
        _show(client.rotate_key(key_id, overlap_s=overlap_s, tenant=tenant), as_json)


def usage(
    start: Annotated[str | None, typer.Option("--from", help="First day, as 2026-11-01.", metavar="DAY")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last day.", metavar="DAY")] = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Say what a tenant used, by day (UTC)."""
    with connected(server, api_key) as client:
        days = client.usage(start=start, end=end, tenant=tenant)
    if as_json:
        _print_json(days)
        return
    rows = [
        (day["date"], str(day["requests"]), str(day["jobs"]), f"{day['audio_minutes']:.1f}", str(day["tokens"]))
        for day in days
    ]
    _print_aligned([("DAY", "REQUESTS", "JOBS", "AUDIO MINUTES", "TOKENS"), *rows])


def _show(key: "NewKeyBody", as_json: bool) -> None:
    if as_json:
        _print_json(key)
    else:
        typer.echo(key["key"])
        typer.echo(f"This is shown once. Its id is {key['id']}.", err=True)


def _row(key: "KeyBody") -> tuple[str, ...]:
    expires = (key["expires_at"] or "never")[:10]
    return (key["id"], key["prefix"] + "…", key["status"], expires, key["name"], " ".join(key["scopes"]))


def _print_aligned(rows: list[tuple[str, ...]]) -> None:
    from serve_app.cli.output import aligned

    for line in aligned(rows):
        typer.echo(line)


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))
