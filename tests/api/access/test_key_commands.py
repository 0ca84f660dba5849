"""``rayscribe keys`` and ``rayscribe usage`` against the application, over a real socket."""

import asyncio
import json

from typer.testing import CliRunner, Result

from serve_app.cli.application import app
from tests.api.access.test_keys import ADMIN, KEYED
from tests.api.conftest import BuildWorld, listening


async def test_a_key_is_made_used_rotated_and_revoked(build: BuildWorld) -> None:
    world = await build(KEYED)
    async with listening(world.app) as address:

        async def rayscribe(*words: str, held: str = ADMIN) -> Result:
            options = {"RAYSCRIBE_SERVER": address, "RAYSCRIBE_API_KEY": held, "COLUMNS": "160", "NO_COLOR": "1"}
            return await asyncio.to_thread(CliRunner().invoke, app, list(words), env=options)

        made = await rayscribe("keys", "create", "laptop", "--scope", "jobs:read", "--days", "30")
        assert made.exit_code == 0, made.output
        secret = made.stdout.strip()
        assert (await rayscribe("jobs", held=secret)).exit_code == 0
        refused = await rayscribe("keys", "list", held=secret)
        assert (refused.exit_code, "admin" in refused.output) == (3, True)

        [listed] = json.loads((await rayscribe("keys", "list", "--json")).stdout)
        table = (await rayscribe("keys", "list")).stdout
        assert f"{listed['id']}  {secret[:11]}…  active" in table
        assert secret not in table

        rotated = await rayscribe("keys", "rotate", listed["id"], "--overlap", "60", "--json")
        new = json.loads(rotated.stdout)
        assert (await rayscribe("jobs", held=new["key"])).exit_code == 0
        ended = await rayscribe("keys", "revoke", new["id"])
        assert ended.stdout == f"{new['id']}  revoked\n"
        assert (await rayscribe("keys", "revoke", "nobody")).exit_code == 3

        usage = await rayscribe("usage")
        assert usage.stdout.split()[:3] == ["DAY", "REQUESTS", "JOBS"]
        assert json.loads((await rayscribe("usage", "--json")).stdout)[0]["requests"] > 5
