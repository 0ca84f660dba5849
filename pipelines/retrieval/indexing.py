"""Passages embedded and stored; a collection moved to another embedder."""

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from pipelines.domain.encoding import to_json
from pipelines.domain.passage import Passage
from pipelines.domain.transcript import Transcript
from pipelines.errors import RayScribeError
from pipelines.ports.models import CallModel, Embedder, call_at_once
from pipelines.ports.passages import CollectionReplacer, PassageStore, Replacement, ReplacementState
from pipelines.retrieval.passages import ChunkingOptions, PassageSource, chunk_transcript

INDEX_BATCH = 64
"""Passages embedded and written at a time: bounds memory, and lets other jobs' texts into the embedder in between."""


async def index_transcript(
    embedder: Embedder,
    store: PassageStore,
    tenant: str,
    collection: str,
    job_id: str,
    recording: str,
    transcript: Transcript,
    metadata: Mapping[str, str] | None = None,
    options: ChunkingOptions | None = None,
    *,
    call_model: CallModel = call_at_once,
    revision: int = 1,
) -> int:
    """Cut, embed and write a job's passages, batch by batch by ``call_model``; return how many there are.

    Doing it again changes nothing: ids follow from tenant, collection, job and position, and passages that an earlier
    cut had beyond these are removed last, so that the job is never missing from a search. Raises EmbedderMismatch,
    PassageStoreUnavailable, and what the embedder raises.
    """
    source = PassageSource(
        tenant=tenant,
        collection=collection,
        job_id=job_id,
        recording=recording,
        metadata=metadata or {},
        revision=revision,
    )
    passages = chunk_transcript(transcript, source, options)
    info = await embedder.info()
    await store.ensure_collection(tenant, collection, info)
    for start in range(0, len(passages), INDEX_BATCH):
        batch = passages[start : start + INDEX_BATCH]
        vectors = await call_model(partial(embedder.embed_passages, [each.text for each in batch]))
        await call_model(partial(store.upsert, tenant, collection, batch, vectors, embedder=info))
    await store.delete_job(tenant, collection, job_id, from_position=len(passages))
    return len(passages)


BATCH = 64
"""Passages embedded and written at a time."""
COMPARED = 512
"""Passages compared in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReindexPosition:
    """How far a reindexing is; one that broke off may go on from here."""

    embedded: int = 0
    """Passages so far, those that were followed up included; what an earlier attempt had filled in is not."""
    batches: int = 0
    """Stretches of the collection that have been gone through, of ``BATCH`` passages each."""
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
    token: str | None = None,
) -> int:
    """Fill a replacement with this embedder's vectors and switch to it; return how many passages were embedded.

    0 where the collection holds this embedder's vectors already. Passages written or removed meanwhile are followed
    up: also what a ``start`` leaves out that is no longer there. May be broken off at any moment, and goes on from
    what was done with the same ``token``; another one, or none, begins anew and ends whoever else is at it. Raises
    NotFound, Conflict where somebody else has begun since, PassageStoreUnavailable, and what the embedder raises.
    """
    info = await embedder.info()
    replacement = Replacement(tenant=tenant, collection=collection, embedder=info, token=token or uuid.uuid4().hex)
    state = await store.begin_replacement(replacement)
    position = start or ReindexPosition()
    if state is ReplacementState.NEEDLESS:
        return position.embedded
    if state is ReplacementState.BEGUN:
        position = ReindexPosition()  # what a start refers to is gone
    copying = _Copying(embedder, store, replacement, position, on_progress)
    if state is not ReplacementState.SWITCHED:
        await copying.copy_all()
        await copying.follow_up_until_nothing_lacks()
        await store.switch_replacement(replacement)
    await copying.follow_up()  # what was written between the last comparison and the switch
    await store.complete_replacement(replacement)
    return copying.position.embedded


@dataclass(slots=True)
class _Copying:
    """One attempt at one replacement."""

    embedder: Embedder
    store: CollectionReplacer
    replacement: Replacement
    position: ReindexPosition
    on_progress: OnProgress | None

    async def copy_all(self) -> None:
        """Go through the collection once, from the position on."""
        while not self.position.scanned:
            lacking, cursor = await self.store.find_lacking(self.replacement, cursor=self.position.cursor, limit=BATCH)
            await self._fill(lacking, cursor)

    async def follow_up_until_nothing_lacks(self) -> None:
        """Go through it again and again. Raises RayScribeError where what was filled in is lacking once more."""
        before: frozenset[str] = frozenset()
        while filled := await self.follow_up():
            if filled <= before:
                raise RayScribeError("the vector store does not keep the passages that a reindexing writes")
            before = filled

    async def follow_up(self) -> frozenset[str]:
        """Go through it once and fill in what is lacking; return digests of it."""
        filled: set[str] = set()
        cursor: str | None = None
        while True:
            lacking, cursor = await self.store.find_lacking(self.replacement, cursor=cursor, limit=COMPARED)
            for first in range(0, len(lacking), BATCH):
                batch = lacking[first : first + BATCH]
                await self._fill(batch, None)
                filled.update(hashlib.sha256(to_json(passage)).hexdigest() for passage in batch)
            if cursor is None:
                return frozenset(filled)

    async def _fill(self, passages: tuple[Passage, ...], cursor: str | None) -> None:
        if passages:
            vectors = await self.embedder.embed_passages([passage.text for passage in passages])
            await self.store.fill_replacement(self.replacement, passages, vectors)
        self.position = ReindexPosition(
            embedded=self.position.embedded + len(passages),
            batches=self.position.batches + 1,
            cursor=cursor,
            scanned=cursor is None,
        )
        if self.on_progress is not None:
            await self.on_progress(self.position)
