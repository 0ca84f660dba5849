"""A collection's passages embedded anew by another model, while searches go on with the old vectors."""

from collections.abc import Awaitable, Callable

from pipelines.domain.passage import Passage
from pipelines.ports import CollectionReplacer, Embedder

BATCH = 64

OnProgress = Callable[[int], Awaitable[None]]
"""Told how many passages have been embedded so far."""


async def reindex_collection(
    embedder: Embedder,
    store: CollectionReplacer,
    tenant: str,
    collection: str,
    on_progress: OnProgress | None = None,
) -> int:
    """Fill a replacement with this embedder's vectors and switch to it; return how many passages were embedded.

    0 where the collection holds this embedder's vectors already. Passages written or removed meanwhile are followed
    up before the switch. May be broken off and done again from the start. Raises NotFound, PassageStoreUnavailable,
    and what the embedder raises.
    """
    info = await embedder.info()
    if not await store.begin_replacement(tenant, collection, info):
        return 0
    embedded = 0

    async def fill(passages: tuple[Passage, ...]) -> None:
        nonlocal embedded
        vectors = await embedder.embed_passages([passage.text for passage in passages])
        await store.fill_replacement(tenant, collection, info, passages, vectors)
        embedded += len(passages)
        if on_progress is not None:
            await on_progress(embedded)

    cursor: str | None = None
    while True:
        passages, cursor = await store.scan(tenant, collection, cursor=cursor, limit=BATCH)
        if passages:
            await fill(passages)
        if cursor is None:
            break
    while lacking := await store.complete_replacement(tenant, collection, info, limit=BATCH):
        await fill(lacking)
    return embedded
