"""What only Qdrant can leave behind when a collection moves to another embedder."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import PassageStoreUnavailable
from pipelines.flows.reindex_collection import reindex_collection
from pipelines.stores.qdrant_connection import Connection
from pipelines.stores.qdrant_embedded import EmbeddedConnection
from pipelines.stores.qdrant_passages import QdrantPassageStore
from tests.contracts.test_collection_replacer import OtherEmbedder
from tests.contracts.test_passage_store import PASSAGES, fill


class DyingConnection:
    """Breaks when the old vectors are about to be dropped."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.dies = True

    async def call(self, method: str, **arguments: Any) -> Any:
        if self.dies and method == "delete_collection":
            raise PassageStoreUnavailable("gone")
        return await self._connection.call(method, **arguments)

    async def close(self) -> None:
        await self._connection.close()


async def test_a_switch_that_broke_off_half_way_is_cleaned_up_by_the_next_attempt(tmp_path: Path) -> None:
    connection = DyingConnection(EmbeddedConnection(tmp_path))
    store = QdrantPassageStore(connection)
    await fill(store, *PASSAGES)
    with pytest.raises(PassageStoreUnavailable):
        await reindex_collection(OtherEmbedder(), store, "a", "notes")
    assert [info.embedder for info in await store.collections("a")] == ["other"]
    assert len((await connection.call("get_collections")).collections) == 2
    connection.dies = False
    assert await reindex_collection(OtherEmbedder(), store, "a", "notes") == 0
    assert len((await connection.call("get_collections")).collections) == 1
    assert [info.passages for info in await store.collections("a")] == [len(PASSAGES)]
    await store.close()
