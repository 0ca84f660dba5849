"""Which collections a folder holds, what they are called besides, and what is known of each: one small file.

Qdrant Edge knows shards; names, aliases and metadata are a server's. The file is replaced whole, so that whoever is
killed leaves the old one or the new one. A shard that it does not name is a creation or a removal that broke off.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.stores.qdrant_connection import CollectionExists, CollectionMissing

_FILE = "collections.json"


class QdrantCatalogue:
    """Collections by name, with their metadata, and aliases."""

    def __init__(self, folder: Path) -> None:
        """Read the folder's file; a new folder has no collections."""
        self._file = folder / _FILE
        known: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._collections: dict[str, dict[str, Any]] = known.get("collections", {})
        self._aliases: dict[str, str] = known.get("aliases", {})

    @property
    def names(self) -> tuple[str, ...]:
        """All collections."""
        return tuple(self._collections)

    @property
    def aliases(self) -> Mapping[str, str]:
        """Alias → collection."""
        return dict(self._aliases)

    def resolve(self, name: str) -> str:
        """Return the collection behind a name or an alias. Raises CollectionMissing."""
        found = self._aliases.get(name, name)
        if found not in self._collections:
            raise CollectionMissing(name)
        return found

    def metadata(self, name: str) -> Mapping[str, Any]:
        """Return what was said of it when it was made. Raises CollectionMissing."""
        return self._collections[self.resolve(name)]

    def require_new(self, name: str) -> None:
        """Raise CollectionExists where the name is taken."""
        if name in self._collections or name in self._aliases:
            raise CollectionExists(name)

    def add(self, name: str, metadata: Mapping[str, Any]) -> None:
        """Make a collection known."""
        self._collections[name] = dict(metadata)
        self._write()

    def remove(self, name: str) -> None:
        """Forget a collection, and what else it was called."""
        del self._collections[name]
        self._aliases = {alias: behind for alias, behind in self._aliases.items() if behind != name}
        self._write()

    def point_alias(self, alias: str, name: str) -> None:
        """Let an alias mean this collection from now on."""
        self._aliases[alias] = self.resolve(name)
        self._write()

    def _write(self) -> None:
        written = self._file.with_suffix(".new")
        with written.open("w") as file:
            json.dump({"collections": self._collections, "aliases": self._aliases}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._file)
