"""What a shard's folder says of itself, in a small file beside Qdrant Edge's: enough to rebuild a lost catalogue."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.stores.durable_file import sync_folder, write_json

RECORD = "collection.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """A collection, as its shard knows it."""

    name: str
    metadata: Mapping[str, Any]
    aliases: tuple[str, ...]
    revision: int
    """Which change of the catalogue it stems from."""


def shard_folders(shards: Path) -> tuple[Path, ...]:
    """Return the folders of shards by name."""
    return tuple(sorted(found for found in shards.iterdir() if found.is_dir()))


def read_record(folder: Path) -> ShardRecord | None:
    """Return None where the folder says nothing, or not what it should."""
    try:
        said = json.loads((folder / RECORD).read_text())
        return ShardRecord(
            name=folder.name,
            metadata=dict(said["metadata"]),
            aliases=tuple(str(alias) for alias in said["aliases"]),
            revision=int(said["revision"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_record(shards: Path, record: ShardRecord) -> None:
    """Let the shard's folder say this. Raises OSError."""
    said = {"metadata": record.metadata, "aliases": record.aliases, "revision": record.revision}
    write_json(shards / record.name / RECORD, said)


def remove_record(shards: Path, name: str) -> None:
    """Let the shard's folder say nothing; a no-op where it is not there."""
    folder = shards / name
    if folder.exists():
        (folder / RECORD).unlink(missing_ok=True)
        sync_folder(folder)
