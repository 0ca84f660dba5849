"""The built page that is committed: small, whole, and what its sources build."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from serve_app.api.operation.page import BUILT_FOLDER
from tests.api.conftest import World

ROOT = Path(__file__).resolve().parents[3]
MOST_BYTES = 300_000


def built() -> dict[str, bytes]:
    files = [path for path in sorted(BUILT_FOLDER.rglob("*")) if path.is_file()]
    return {path.relative_to(BUILT_FOLDER).as_posix(): path.read_bytes() for path in files}


def test_it_is_small_and_brings_no_maps_and_no_addresses() -> None:
    files = built()
    assert sum(len(gzip.compress(content)) for content in files.values()) < MOST_BYTES
    assert [name for name in files if name.endswith(".map")] == []
    assert b"resolved" not in (ROOT / "serve_app" / "web" / "package-lock.json").read_bytes()


async def test_it_needs_no_key_and_says_what_may_be_loaded(world: World) -> None:
    page = await world.client.get("/", headers={"accept": "text/html", "accept-encoding": "gzip"})
    assert (page.status_code, page.headers["content-encoding"]) == (200, "gzip")
    assert page.content == (BUILT_FOLDER / "index.html").read_bytes()
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    again = await world.client.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_parts_are_kept_for_ever_and_nothing_else_is_served(world: World) -> None:
    for name, content in built().items():
        part = await world.client.get(f"/web/{name}")
        assert (part.status_code, part.content) == (200, content)
        assert ("immutable" in part.headers["cache-control"]) is name.startswith("assets/")
    for name in ("none.js", "../package.json", "%2e%2e/package.json", "/etc/passwd"):
        assert (await world.client.get(f"/web/{name}")).status_code == 404


@pytest.mark.slow  # npm installs and Vite builds: half a minute
@pytest.mark.timeout(600)
def test_it_equals_a_rebuild() -> None:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here: the page cannot be rebuilt")
    before = built()
    subprocess.run([ROOT / "scripts" / "build_page"], check=True, timeout=500)
    assert built() == before
