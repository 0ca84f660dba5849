"""Commands about collections: search, ask, write to one file and bring back, fill from a folder that is watched."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.failures import USAGE, connected, fail, say_error
from serve_app.cli.options import DEFAULT_SERVER, AsJson, Collections, Key, Server

if TYPE_CHECKING:
    from serve_app.client import RayScribeClient
    from serve_app.client.shapes import ChatBody


class SearchMode(StrEnum):
    """Which halves of hybrid search to use."""

    HYBRID = "hybrid"
    DENSE = "dense"
    SPARSE = "sparse"


def search(
    query: Annotated[str, typer.Argument(help="What to look for, in your own words.")],
    collection: Collections,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="How many passages.", min=1)] = 5,
    mode: Annotated[SearchMode, typer.Option(help="hybrid: by meaning and by words.")] = SearchMode.HYBRID,
    speaker: Annotated[list[str] | None, typer.Option(help="Only what this speaker said; may be repeated.")] = None,
    job: Annotated[list[str] | None, typer.Option(help="Only in this job; may be repeated.")] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Find passages by meaning and by words, with their moment and speaker."""
    filters = {name: values for name, values in (("speakers", speaker), ("job_ids", job)) if values}
    options = {"filters": filters} if filters else {}
    with connected(server, api_key) as client:
        found = client.search(query, collection, top_k=top_k, mode=str(mode), **options)
    if as_json:
        _print_json(found)
        return
    from rich.console import Console

    from serve_app.cli.output import print_hits

    print_hits(Console(highlight=False), found["hits"])


def chat(
    question: Annotated[str, typer.Argument(help="A question about what was said.")],
    collection: Collections,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Answer a question from recordings, with citations that can be played."""
    with connected(server, api_key) as client:
        answer = client.chat(question, collection)
    if as_json:
        _print_json(answer)
    else:
        _print_answer(answer)


def _print_answer(answer: "ChatBody") -> None:
    from serve_app.cli.output import answer_lines

    for line in answer_lines(answer):
        typer.echo(line)


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))


_SUFFIXES = (
    ".wav", ".mp3", ".m4a", ".mp4", ".aac", ".flac", ".ogg", ".oga", ".opus", ".webm", ".mkv", ".mov", ".amr", ".wma",
    ".avi", ".mpga", ".mpeg", ".3gp", ".aiff",
)  # fmt: skip


def export(
    collection: Annotated[str, typer.Argument(metavar="COLLECTION")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Left out: COLLECTION.zip.")] = None,
    recordings: Annotated[bool, typer.Option(help="Take the sound along.")] = True,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Write a collection to one file: transcripts, corrections, what was made of them, and the sound."""
    to = output or Path(f"{PurePosixPath(collection).name}.zip")
    with connected(server, api_key) as client:
        size = client.export_collection(collection, to, recordings=recordings)
    typer.echo(f"{typer.format_filename(to)}  {size:,} bytes")


def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE")],
    collection: Annotated[str | None, typer.Option("--collection", "-c", help="Into this one instead.")] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Bring a collection back from a file that ``rayscribe export`` wrote."""
    with connected(server, api_key) as client:
        done = client.import_collection(file, collection=collection)
    if as_json:
        typer.echo(json.dumps(done))
    else:
        already = f", {done['skipped']} were there" if done["skipped"] else ""
        already += f", {gone} were erased here and stay so" if (gone := done.get("erased")) else ""
        typer.echo(f"{done['collection']}  {len(done['jobs'])} recordings{already}: `rayscribe jobs` shows them")


def watch_folder(
    folder: Annotated[str, typer.Argument(metavar="DIR|s3://BUCKET/PREFIX")],
    collection: Annotated[str | None, typer.Option("--collection", "-c", help="Index into this collection.")] = None,
    features: Annotated[str | None, typer.Option("--features", "-f", help="What to make, comma-separated.")] = None,
    interval_s: Annotated[float, typer.Option("--interval", help="Seconds between two looks.", min=0.1)] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="Submit what is there, and leave.")] = False,
    state: Annotated[Path | None, typer.Option(help="Remembers what was submitted.", dir_okay=False)] = None,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Submit every recording that appears in a folder or bucket, once each.

    A file that still grows is waited for, one that was changed is submitted again.
    """
    fields = {name: value for name, value in {"features": features, "collection": collection}.items() if value}
    if collection and "index" not in (features or ""):
        fields["features"] = f"{features or 'raw_transcript'},index"
    watched = _open(folder)
    remembered = _Remembered.load(state or _default_state(folder))
    with connected(server, api_key) as client:
        _Watch(client, server, watched, remembered, fields).run(interval_s, once=once)


@dataclass(frozen=True, slots=True)
class _Watched:
    """A folder somewhere."""

    files: Any
    """fsspec's view of it."""
    root: str

    def look(self) -> Mapping[str, str]:
        """Return the recordings that are there: path → what changes with the content."""
        found: dict[str, str] = {}
        for path, entry in self.files.find(self.root, detail=True).items():
            name = PurePosixPath(path).name
            if PurePosixPath(path).suffix.lower() in _SUFFIXES and not name.startswith("."):
                stamp = entry.get("ETag") or entry.get("mtime") or entry.get("LastModified")
                found[path] = f"{entry['size']}-{stamp}"
        return found

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """Give the file on this machine's disk."""
        if "file" in self.files.protocol or self.files.protocol == "file":
            yield Path(path)
            return
        with TemporaryDirectory() as folder:
            copy = Path(folder) / PurePosixPath(path).name
            self.files.get_file(path, str(copy))
            yield copy


@dataclass(slots=True)
class _Remembered:
    """What was submitted: path → what it was like, in a file, so that a new start does not send it again."""

    file: Path
    submitted: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path) -> "_Remembered":
        try:
            known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        except (OSError, ValueError):
            fail(f"{typer.format_filename(file)} cannot be read", "Name another file with --state.", USAGE)
        return cls(file, known)

    def add(self, path: str, stamp: str) -> None:
        self.submitted[path] = stamp
        self.file.parent.mkdir(parents=True, exist_ok=True)
        written = self.file.with_name(f"{self.file.name}.part")
        written.write_text(json.dumps(self.submitted), encoding="utf-8")
        written.replace(self.file)


@dataclass(slots=True)
class _Watch:
    """A folder that is being watched."""

    client: "RayScribeClient"
    server: str
    watched: _Watched
    remembered: _Remembered
    fields: dict[str, str]
    sleep: Callable[[float], None] = time.sleep

    def run(self, interval_s: float, *, once: bool) -> None:
        """Look again and again, whatever becomes of the server; ``once``: take what is there as it is, and return."""
        from serve_app.client import ServerUnreachable

        if once:
            self._submit(self.watched.look())
            return
        before: Mapping[str, str] = {}
        while True:
            now = self.watched.look()
            # Only what looks as it did the time before: the others are still being written.
            try:
                self._submit({path: stamp for path, stamp in now.items() if before.get(path) == stamp})
            except ServerUnreachable as error:
                say_error(error, self.server)
            before = now
            self.sleep(interval_s)

    def _submit(self, ready: Mapping[str, str]) -> None:
        from serve_app.client import FileUnreadable, RequestRefused

        for path, stamp in sorted(ready.items()):
            if self.remembered.submitted.get(path) == stamp:
                continue
            # The same file under the same key is one job, also where this command died before it could remember it.
            key = hashlib.sha256(json.dumps([path, stamp, self.fields]).encode()).hexdigest()
            try:
                with self.watched.local(path) as file:
                    job = self.client.submit(file, self.fields, idempotency_key=key)
            except FileUnreadable:
                continue  # it has gone, or cannot be read yet
            except RequestRefused as error:
                say_error(error, self.server, subject=path)
                if error.busy:
                    return
                self.remembered.add(path, stamp)
            else:
                self.remembered.add(path, stamp)
                typer.echo(f"{job['id']}  {path}")


def _open(folder: str) -> _Watched:
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(folder)
        there = files.isdir(root)
    except (OSError, ValueError, ImportError) as error:
        fail(f"{folder} cannot be opened: {error}", None, USAGE)
    if not there and "://" not in folder:
        fail(f"{folder} is no folder", None, USAGE)
    return _Watched(files, root)


def _default_state(folder: str) -> Path:
    place = folder if "://" in folder else str(Path(folder).resolve())
    return Path.home() / ".rayscribe" / f"watched-{hashlib.sha256(place.encode()).hexdigest()[:16]}.json"
