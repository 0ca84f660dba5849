"""Recordings that fakes understand, the ports that hear them, and jobs about them."""

import uuid
from typing import Any

from pipelines.audio.decode import PyavDecoder
from pipelines.audio.reader import LocalReader
from pipelines.domain.job import JobRequest, NewJob, Upload
from pipelines.fakes.models import FakeDiarizer, FakeEmbedder, FakeSpeechDetector, FakeTranscriber
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.fakes.scripted_speech import Utterance, write_wav
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.jobs.ports import RecordingPorts
from pipelines.ports.artifacts import ArtifactStore

EVERYTHING = ("raw_transcript", "diarization", "word_timestamps", "index")
DIALOGUE = (
    Utterance(start_s=0.5, end_s=1.5, text="good morning", speaker=0),
    Utterance(start_s=32.0, end_s=33.0, text="hello to you", speaker=1),
    Utterance(start_s=64.0, end_s=65.0, text="when is the exam", speaker=0),
)
"""Far enough apart for a window each."""
UPLOAD = Upload(filename="dialogue.wav", sha256="0" * 64, bytes=1, artifact="acme/uploads/dialogue/recording")


def new_job(*features: str, tenant: str = "acme", body_hash: str = "body", **fields: Any) -> NewJob:
    """Return a job about DIALOGUE; ``fields`` are the request's."""
    job_fields = {name: fields.pop(name) for name in ("job_id", "created_at", "upload") if name in fields}
    wanted = features or EVERYTHING
    collection = "biology" if "index" in wanted else None
    return NewJob(
        job_id=job_fields.get("job_id") or str(uuid.uuid4()),
        tenant=tenant,
        request=JobRequest(features=wanted, **{"collection": collection, **fields}),
        upload=job_fields.get("upload") or UPLOAD,
        created_at=job_fields.get("created_at") or "2026-11-20T10:00:00.000Z",
        body_hash=body_hash,
    )


async def fake_ports(artifacts: ArtifactStore | None = None, **ports: Any) -> RecordingPorts:
    """Return ports over fakes, with DIALOGUE stored where UPLOAD says."""
    store = artifacts or InMemoryArtifactStore()
    await store.write(UPLOAD.artifact, write_wav(DIALOGUE))
    defaults = {
        "reader": LocalReader(store.open, PyavDecoder(), lambda options: FakeSpeechDetector()),
        "transcriber": FakeTranscriber(),
        "diarizer": FakeDiarizer(),
        "embedder": FakeEmbedder(),
        "passages": InMemoryPassageStore(),
    }
    return RecordingPorts(artifacts=store, **{**defaults, **ports})
