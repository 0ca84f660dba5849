"""Which collections a folder holds, what they are called besides, and what is known of each: one small file.

Qdrant Edge knows shards; names, aliases and metadata are a server's. Each change is on the disk before it is believed
here. Each shard's folder says the same of itself, so that a lost catalogue costs nothing:

- A shard that says what it holds is a collection, whether the catalogue names it or not.
- A shard that says nothing and is not named is a creation or a removal that broke off. It is removed, but only where
  there is a catalogue that can be read: without one it may be anything.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.errors import PassageStoreUnavailable
from pipelines.stores.qdrant.connection import CollectionExists, CollectionMissing

logger = logging.getLogger(__name__)

_FILE = "collections.json"
_DAMAGED = "collections.damaged.json"
RECORD = "collection.json"
"""What a shard's folder says of itself, beside the engine's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    collections: Mapping[str, Mapping[str, Any]]
    aliases: Mapping[str, str]
    revision: int
    """Counts changes: of two shards that say to have the same alias, the one that said so later is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShardRecord:
    """A collection, as its shard knows it."""

    name: str
    metadata: Mapping[str, Any]
    aliases: tuple[str, ...]
    revision: int
    """Which change of the catalogue it stems from."""


class EdgeCatalogue:
    """Collections by name, with their metadata, and aliases."""

    def __init__(self, folder: Path, shards: Path) -> None:
        """Read the folder's file, or rebuild it from what the shards say. Raises PassageStoreUnavailable."""
        self._file = folder / _FILE
        self._shards = shards
        found = _parse(self._file)
        self._state = self._rebuilt() if found is None else self._completed(found)
        if found is None or found.collections.keys() != self._state.collections.keys():
            self._write(self._state)
        self._tell_shards()

    @property
    def names(self) -> tuple[str, ...]:
        """All collections."""
        return tuple(self._state.collections)

    @property
    def aliases(self) -> Mapping[str, str]:
        """Alias → collection."""
        return dict(self._state.aliases)

    def resolve(self, name: str) -> str:
        """Return the collection behind a name or an alias. Raises CollectionMissing."""
        found = self._state.aliases.get(name, name)
        if found not in self._state.collections:
            raise CollectionMissing(name)
        return found

    def metadata(self, name: str) -> Mapping[str, Any]:
        """Return what was said of it when it was made. Raises CollectionMissing."""
        return self._state.collections[self.resolve(name)]

    def require_new(self, name: str) -> None:
        """Raise CollectionExists where the name is taken."""
        if name in self._state.collections or name in self._state.aliases:
            raise CollectionExists(name)

    def add(self, name: str, metadata: Mapping[str, Any]) -> None:
        """Make a collection known, whose shard is there. Raises OSError, and then nothing has changed."""
        new = self._changed(collections={**self._state.collections, name: dict(metadata)})
        _write_record(self._shards, _record(new, name))
        self._commit(new)

    def remove(self, name: str) -> None:
        """Forget a collection, and what else it was called. Raises OSError, and then nothing has changed.

        Its shard forgets first, so that a removal that breaks off from here on is one that can be seen.
        """
        kept = {other: metadata for other, metadata in self._state.collections.items() if other != name}
        aliases = {alias: behind for alias, behind in self._state.aliases.items() if behind != name}
        _remove_record(self._shards, name)
        try:
            self._commit(self._changed(collections=kept, aliases=aliases))
        except OSError:
            self._tell_shards()
            raise

    def point_alias(self, alias: str, name: str) -> None:
        """Let an alias mean this collection from now on. Raises OSError, and then it means what it did."""
        behind = self.resolve(name)
        new = self._changed(aliases={**self._state.aliases, alias: behind})
        if (self._shards / behind).exists():
            _write_record(self._shards, _record(new, behind))
        self._commit(new)

    def _changed(self, **changes: Any) -> _State:
        return replace(self._state, revision=self._state.revision + 1, **changes)

    def _commit(self, new: _State) -> None:
        self._write(new)
        self._state = new

    def _write(self, state: _State) -> None:
        content = {"collections": state.collections, "aliases": state.aliases, "revision": state.revision}
        write_json(self._file, content)

    def _completed(self, found: _State) -> _State:
        """Take in what only a shard knows of, and sweep what nobody does."""
        unknown = [folder for folder in _shard_folders(self._shards) if folder.name not in found.collections]
        records = [record for folder in unknown if (record := _read_record(folder)) is not None]
        for folder in unknown:
            if _read_record(folder) is None:
                shutil.rmtree(folder, ignore_errors=True)
        if records:
            logger.warning("%s lacked %d collections, which their shards know", self._file, len(records))
        return _joined(found, records)

    def _rebuilt(self) -> _State:
        """Believe the shards. Raises PassageStoreUnavailable where one of them says nothing."""
        for folder in _shard_folders(self._shards):
            with suppress(OSError):
                folder.rmdir()  # a creation that broke off at once: only an empty folder goes
        folders = _shard_folders(self._shards)
        records = [record for folder in folders if (record := _read_record(folder)) is not None]
        if len(records) < len(folders):
            logger.error("%s is lost or damaged, and of %s not all say what they hold", self._file, self._shards)
            raise PassageStoreUnavailable(
                f"the vector store's {_FILE} is lost or damaged: nothing was removed; put it back from a backup"
            )
        if self._file.exists():
            self._file.replace(self._file.with_name(_DAMAGED))
        if records:
            logger.warning("%s was lost or damaged, and is made again of what %d shards say", self._file, len(records))
        return _joined(_State(collections={}, aliases={}, revision=0), records)

    def _tell_shards(self) -> None:
        """Let each shard say what the catalogue does; one that cannot be told now is told another time."""
        for folder in _shard_folders(self._shards):
            if folder.name not in self._state.collections:
                continue
            wanted, there = _record(self._state, folder.name), _read_record(folder)
            if there is None or replace(there, revision=wanted.revision) != wanted:
                try:
                    _write_record(self._shards, wanted)
                except OSError:
                    logger.warning("%s cannot be written: the catalogue has no second copy of it", folder)


def _shard_folders(shards: Path) -> tuple[Path, ...]:
    """Return the folders of shards by name."""
    return tuple(sorted(found for found in shards.iterdir() if found.is_dir()))


def _read_record(folder: Path) -> _ShardRecord | None:
    """Return None where the folder says nothing, or not what it should."""
    try:
        said = json.loads((folder / RECORD).read_text())
        return _ShardRecord(
            name=folder.name,
            metadata=dict(said["metadata"]),
            aliases=tuple(str(alias) for alias in said["aliases"]),
            revision=int(said["revision"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _write_record(shards: Path, record: _ShardRecord) -> None:
    """Let the shard's folder say this. Raises OSError."""
    said = {"metadata": record.metadata, "aliases": record.aliases, "revision": record.revision}
    write_json(shards / record.name / RECORD, said)


def _remove_record(shards: Path, name: str) -> None:
    """Let the shard's folder say nothing; a no-op where it is not there."""
    folder = shards / name
    if folder.exists():
        (folder / RECORD).unlink(missing_ok=True)
        _sync_folder(folder)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Replace the file; when this returns, the content and the name are on the disk. Raises OSError."""
    written = file.with_name(file.name + ".new")
    try:
        with written.open("w") as stream:
            json.dump(content, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        written.replace(file)
    except BaseException:
        with suppress(OSError):
            written.unlink(missing_ok=True)
        raise
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    """Put on the disk which names the folder holds."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _parse(file: Path) -> _State | None:
    """Return None where the file is not there, or does not say what it should."""
    try:
        known = json.loads(file.read_text())
        collections = {str(name): dict(metadata) for name, metadata in known["collections"].items()}
        aliases = {str(alias): str(name) for alias, name in known["aliases"].items()}
        return _State(collections=collections, aliases=aliases, revision=int(known.get("revision", 0)))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _joined(state: _State, records: Sequence[_ShardRecord]) -> _State:
    """Add what shards say; what the state says already stays."""
    collections, aliases = dict(state.collections), dict(state.aliases)
    for record in sorted(records, key=lambda record: record.revision, reverse=True):
        collections[record.name] = record.metadata
        for alias in record.aliases:
            aliases.setdefault(alias, record.name)
    revision = max([state.revision, *(record.revision for record in records)])
    return _State(collections=collections, aliases=aliases, revision=revision)


def _record(state: _State, name: str) -> _ShardRecord:
    return _ShardRecord(
        name=name,
        metadata=state.collections[name],
        aliases=tuple(sorted(alias for alias, behind in state.aliases.items() if behind == name)),
        revision=state.revision,
    )
