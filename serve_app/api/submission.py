"""interim"""

from datetime import UTC, datetime

from pipelines.domain.job import Job, JobRequest, NewJob, Upload
from pipelines.errors import AudioTooShort
from serve_app.services import Services


async def accept_job(services: Services, tenant: str, job_id: str, request: JobRequest, upload: Upload) -> Job:
    recording = await services.reader.probe(upload)
    if recording.duration_s is not None and recording.duration_s < services.settings.limits.minimum_job_s:
        raise AudioTooShort("too short", "file")
    return await services.jobs.enqueue(
        NewJob(
            job_id=job_id,
            tenant=tenant,
            request=request,
            upload=upload,
            created_at=datetime.now(UTC).isoformat(),
            body_hash=f"{upload.sha256}{request}",
        )
    )


async def erase_job(services: Services, tenant: str, job_id: str) -> None:
    await services.jobs.erase(tenant, job_id)
    await services.artifacts.delete_tree(f"{tenant}/{job_id}")
