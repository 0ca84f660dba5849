"""A transcript into a collection, where it can be found."""

from collections.abc import Mapping

from pipelines.domain.transcript import Transcript
from pipelines.passage_ports import PassageStore
from pipelines.ports import Embedder
from pipelines.steps.chunk_transcript import ChunkingOptions, PassageSource, chunk_transcript

BATCH = 64
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
) -> int:
    """Cut, embed and write a job's passages; return how many there are.

    Doing it again changes nothing: ids follow from tenant, collection, job and position, and passages that an earlier
    cut had beyond these are removed last, so that the job is never missing from a search. Raises EmbedderMismatch,
    PassageStoreUnavailable, and what the embedder raises.
    """
    source = PassageSource(
        tenant=tenant, collection=collection, job_id=job_id, recording=recording, metadata=metadata or {}
    )
    passages = chunk_transcript(transcript, source, options)
    info = await embedder.info()
    await store.ensure_collection(tenant, collection, info)
    for start in range(0, len(passages), BATCH):
        batch = passages[start : start + BATCH]
        vectors = await embedder.embed_passages([each.text for each in batch])
        await store.upsert(tenant, collection, batch, vectors, embedder=info)
    await store.delete_job(tenant, collection, job_id, from_position=len(passages))
    return len(passages)
