"""A collection's passages embedded anew by another model, while searches go on with the old vectors."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pipelines.domain.passage import Passage
from pipelines.passage_ports import CollectionReplacer
from pipelines.ports import Embedder

BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ReindexPosition:
    """How far a reindexing is; one that broke off may go on from here."""

    embedded: int = 0
    """Passages so far, those that were followed up included."""
    batches: int = 0
    cursor: str | None = None
    """Where the scan goes on; None before its first batch and after its last."""
    scanned: bool = False
    """All has been scanned: only what was written meanwhile is left."""


OnProgress = Callable[[ReindexPosition], Awaitable[None]]
"""Told after each batch that has been written."""


async def reindex_collection(
    embedder: Embedder,
    store: CollectionReplacer,
    tenant: str,
    collection: str,
    on_progress: OnProgress | None = None,
    *,
    start: ReindexPosition | None = None,
) -> int:
    """Fill a replacement with this embedder's vectors and switch to it; return how many passages were embedded.

    0 where the collection holds this embedder's vectors already. Passages written or removed meanwhile are followed
    up before the switch: also what a ``start`` leaves out that is no longer there. May be broken off at any moment and
    done again. Raises NotFound, PassageStoreUnavailable, and what the embedder raises.
    """
    info = await embedder.info()
    position = start or ReindexPosition()
    if not await store.begin_replacement(tenant, collection, info):
        return position.embedded

    async def fill(passages: tuple[Passage, ...], cursor: str | None) -> None:
        nonlocal position
        vectors = await embedder.embed_passages([passage.text for passage in passages])
        await store.fill_replacement(tenant, collection, info, passages, vectors)
        position = ReindexPosition(
            embedded=position.embedded + len(passages),
            batches=position.batches + 1,
            cursor=cursor,
            scanned=cursor is None,
        )
        if on_progress is not None:
            await on_progress(position)

    while not position.scanned:
        passages, cursor = await store.scan(tenant, collection, cursor=position.cursor, limit=BATCH)
        await fill(passages, cursor)
    while lacking := await store.complete_replacement(tenant, collection, info, limit=BATCH):
        await fill(lacking, None)
    return position.embedded
