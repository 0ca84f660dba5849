"""The owner of the vector store: embedded Qdrant locks its folder, so exactly one process may hold it."""

from typing import Any

from pipelines.ports.passages import CollectionReplacer, PassageStore
from serve_app.data_folder import prepare_data_folder
from serve_app.metrics import configure_logs
from serve_app.settings import Settings

_VERBS = frozenset(
    name for port in (PassageStore, CollectionReplacer) for name in vars(port) if not name.startswith("_")
)


class PassageStoreDeployment:
    """Owns the connection to Qdrant, or its local folder."""

    async def __init__(self, settings: Settings) -> None:
        # Here, not above: who only builds the application (a start waits for it) need not import the vector store.
        from pipelines.stores.qdrant_passages import QdrantPassageStore

        configure_logs(settings.log_level)
        prepare_data_folder(settings.data)
        self._store: PassageStore = await QdrantPassageStore.open(
            settings.data.passages, api_key=settings.data.qdrant_api_key
        )

    async def perform(self, verb: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call one verb of the PassageStore port; the caller's side is ``remote_passages.py``."""
        if verb not in _VERBS:
            raise AttributeError(f"the passage store has no verb {verb!r}")
        return await getattr(self._store, verb)(*arguments, **options)
