"""What a job looks like inside DBOS: names, attributes, JSON, and the way back to a Job.

The workflow id is the job id, the authenticated user its tenant, the queue partition too. The input is the NewJob.
Attributes hold what changes or is listed by: there is no table of our own.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from dbos import Serializer, WorkflowStatus

from pipelines.domain.encoding import from_plain, to_plain
from pipelines.domain.job import Job, JobFailure, JobStatus, NewJob, Priority
from pipelines.errors import RayScribeError
from pipelines.jobs.failure import JobFailed, failure_of

APPLICATION = "rayscribe"
QUEUE = "recordings"
WORKFLOW = "process_recording"
"""Of all kinds of jobs: stored ones carry this name from the time when there was one kind."""
EVENTS = "events"
PRIORITIES: Mapping[Priority, int] = {"high": 1, "normal": 2, "low": 3}
WAITING = ["ENQUEUED", "DELAYED"]
FAILED = ("ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
ENDED = ["SUCCESS", *FAILED, "CANCELLED"]
UPGRADING = "upgrading_to"
"""Attribute of a job that is cancelled only to be started over under a newer workflow version."""


class JsonSerializer(Serializer):
    """Everything in the job database is JSON: readable by people and other languages, and never code."""

    def name(self) -> str:
        """Stand beside every value in the database."""
        return "rayscribe_json"

    def serialize(self, data: Any) -> str:
        """Encode plain data, or an exception as the record its owner may see."""
        if isinstance(data, BaseException):
            data = {"$failure": to_plain(data.failure if isinstance(data, JobFailed) else failure_of(data, None))}
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=_encode)

    def deserialize(self, serialized_data: str) -> Any:
        """Decode what ``serialize`` made."""
        data = json.loads(serialized_data)
        if isinstance(data, dict) and "$failure" in data:
            return _exception_of(from_plain(JobFailure, data["$failure"]))
        return data


def _encode(value: object) -> str:
    if isinstance(value, datetime):  # the time that DBOS gives to a scheduled workflow
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} does not belong into the job database")


def _exception_of(failure: JobFailure) -> Exception:
    if failure.stage is not None:
        return JobFailed(failure)
    return _error_classes().get(failure.code, RayScribeError)(failure.message, failure.param)


def _error_classes() -> dict[str, type[RayScribeError]]:
    classes, found = [RayScribeError], {}
    while classes:
        error_class = classes.pop()
        found[error_class.code] = error_class
        classes += error_class.__subclasses__()
    return found


def attributes_of(job: NewJob) -> dict[str, object]:
    """Return what a new workflow is listed by."""
    return {
        "kind": job.kind.value,
        "filename": job.upload.filename,
        "collection": job.request.collection,
        "priority": job.request.priority,
        "body_hash": job.body_hash,
    }


def new_job_of(status: WorkflowStatus) -> NewJob:
    """Return what was enqueued."""
    return from_plain(NewJob, cast(dict[str, Any], status.input)["args"][0])


def job_status_of(status: WorkflowStatus) -> JobStatus:
    """Return the job's state. A job whose runner died is running: it had begun, and another runner will go on."""
    attributes = status.attributes or {}
    if status.status in WAITING or attributes.get(UPGRADING):
        return JobStatus.RUNNING if status.recovery_attempts else JobStatus.QUEUED
    by_word = {"PENDING": JobStatus.RUNNING, "SUCCESS": JobStatus.SUCCEEDED, "CANCELLED": JobStatus.CANCELLED}
    return by_word.get(status.status, JobStatus.FAILED)


def job_of(status: WorkflowStatus, queue_position: int | None) -> Job:
    """Return the job as its owner sees it. ``status`` was loaded with input and output."""
    new = new_job_of(status)
    state = job_status_of(status)
    attributes = status.attributes or {}
    stage = attributes.get("stage") if state in (JobStatus.RUNNING, JobStatus.FAILED) else None
    progress = 1.0 if state is JobStatus.SUCCEEDED else float(attributes.get("progress") or 0.0)
    return Job(
        job_id=new.job_id,
        tenant=new.tenant,
        request=new.request,
        upload=new.upload,
        status=state,
        stage=stage or None,
        progress=progress,
        queue_position=queue_position,
        created_at=new.created_at,
        started_at=attributes.get("started_at") or _timestamp(status.dequeued_at),
        finished_at=(attributes.get("finished_at") or _timestamp(status.completed_at)) if state.ended else None,
        attempts=int(attributes.get("earlier_attempts") or 0) + int(status.recovery_attempts or 0),
        error=_failure(status) if state is JobStatus.FAILED else None,
        kind=new.kind,
    )


def now() -> str:
    """Return the time as jobs carry it: UTC, RFC 3339, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _timestamp(epoch_ms: int | None) -> str | None:
    if epoch_ms is None:
        return None
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _failure(status: WorkflowStatus) -> JobFailure:
    if isinstance(status.error, JobFailed):
        return status.error.failure
    if status.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return JobFailure(message="the job ended its runner too often", code="internal_error", stage=None)
    return failure_of(status.error or RayScribeError("the job failed inside the service"), None)
