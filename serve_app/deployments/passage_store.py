"""The owner of the vector store: embedded Qdrant locks its folder, so exactly one process may hold it."""

from pipelines.ports.passages import CollectionReplacer, PassageStore
from serve_app.data_folder import prepare_data_folder
from serve_app.metrics import configure_logs
from serve_app.remote.guarded import port_verbs
from serve_app.settings import Settings


class PassageStoreDeployment:
    """Owns Qdrant's local folder. Its methods are the verbs of the store's ports."""

    async def __init__(self, settings: Settings) -> None:
        # Here, not above: who only builds the application (a start waits for it) need not import the vector store.
        from pipelines.stores.qdrant.passages import QdrantPassageStore

        configure_logs(settings.log_level)
        prepare_data_folder(settings.data)
        store = await QdrantPassageStore.open(settings.data.passages)
        for verb in (*port_verbs(PassageStore), *port_verbs(CollectionReplacer)):
            setattr(self, verb, getattr(store, verb))
