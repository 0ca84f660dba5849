"""A received recording becomes an acknowledged job."""

import hashlib
import uuid
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime

import uuid_utils.compat

from pipelines.domain.encoding import to_json
from pipelines.domain.job import Feature, Job, JobRequest, NewJob, Upload
from pipelines.domain.transcript import DiarizationOptions
from pipelines.errors import InvalidRequest, NotAvailable
from pipelines.flows.diarize_recording import require_possible
from pipelines.flows.probe_recording import probe_recording
from pipelines.flows.recording_ports import ProcessingOptions
from pipelines.ports import JobQueue, RecordingReader

_NAMESPACE = uuid.UUID("3c1d9d0e-54f5-5a0b-8b3c-6a51c5b1f0a4")


def new_job_id(tenant: str, idempotency_key: str | None = None) -> str:
    """Return a UUIDv7, or with a key the UUIDv5 of tenant and key, so that a repeat finds the same job."""
    if idempotency_key is None:
        return str(uuid_utils.compat.uuid7())
    return str(uuid.uuid5(_NAMESPACE, f"{tenant}\n{idempotency_key}"))


async def submit_job(
    queue: JobQueue,
    reader: RecordingReader,
    *,
    tenant: str,
    job_id: str,
    request: JobRequest,
    upload: Upload,
    options: ProcessingOptions | None = None,
    available: Collection[Feature] = tuple(Feature),
) -> Job:
    """Check what was asked against what was received, and enqueue it. The upload is the caller's to remove on errors.

    Raises InvalidRequest, NotAvailable (a feature that is not in ``available``), UnsupportedMedia, AudioDamaged,
    AudioTooShort, DiarizationTooLong, QueueFull, IdempotencyConflict, JobStoreUnavailable.
    """
    check_request(request, available)
    await probe_recording(reader, upload, request, options or ProcessingOptions())
    job = NewJob(
        job_id=job_id,
        tenant=tenant,
        request=request,
        upload=upload,
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        body_hash=hash_submission(request, upload),
    )
    return await queue.enqueue(job)


def check_request(request: JobRequest, available: Collection[Feature]) -> None:
    """Raise InvalidRequest or NotAvailable, naming the field, for what cannot be done whatever the recording."""
    if not request.features:
        raise InvalidRequest("ask for at least one feature", "features")
    for feature in request.features:
        if feature not in available:
            raise NotAvailable(f"the feature {feature.value} is not available in this deployment", "features")
    for feature, field in (
        (Feature.INDEX, "collection"),
        (Feature.SUMMARY, "template_id"),
        (Feature.TRANSLATION, "target_language"),
        (Feature.CLASSIFICATION, "labels"),
    ):
        if feature in request.features and not getattr(request, field):
            raise InvalidRequest(f"the feature {feature.value} needs {field}", field)
    bounds = ("num_speakers", "min_speakers", "max_speakers")
    require_possible(DiarizationOptions(**{name: getattr(request, name) for name in bounds}))
    if request.num_speakers and (request.min_speakers or request.max_speakers):
        raise InvalidRequest("give num_speakers, or min_speakers and max_speakers, not both", "num_speakers")


def hash_submission(request: JobRequest, upload: Upload) -> str:
    """Return what two submissions under one idempotency key must share: fields, file name and bytes."""
    features = tuple(sorted(request.features))
    same = to_json(replace(request, features=features, metadata=dict(sorted(request.metadata.items()))))
    return hashlib.sha256(same + f"\n{upload.filename}\n{upload.sha256}".encode()).hexdigest()
