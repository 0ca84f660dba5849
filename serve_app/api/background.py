"""Work that its client does not wait for: a request that is answered at once with a job."""

import secrets
from typing import Any, Literal

from fastapi import Response
from pydantic import Field
from starlette.responses import JSONResponse

from pipelines.domain.job import Job, JobKind, JobRequest, Priority
from pipelines.errors import InvalidRequest
from pipelines.flows.submit_job import new_job_id
from pipelines.flows.submit_request import keep_request, new_request_job
from serve_app.api.authentication import Caller, require_scope
from serve_app.api.bodies import RequestBody
from serve_app.api.job_shapes import JobBody, job_body
from serve_app.api.submission import acknowledge_request
from serve_app.api.uploads import scratch_folder
from serve_app.services import Services

PriorityName = Literal["high", "normal", "low"]
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": JobBody,
        "description": "Acknowledged as a job: it will not be lost.",
        "headers": {"Location": {"description": "Address of the job.", "schema": {"type": "string"}}},
    }
}
"""For routes that can be asked to answer in the background."""


class BackgroundFields(RequestBody):
    """Whether to wait for the answer."""

    background: bool = Field(
        default=False, description="Answer 202 with a job at once; needs the scope `jobs:write` as well."
    )
    priority: PriorityName | None = Field(default=None, description="Of the job; only with `background`.")

    @property
    def job_priority(self) -> Priority:
        """The job's place in the queue."""
        return self.priority or "normal"

    def check_background(self) -> None:
        """Raise InvalidRequest for what only a job can have."""
        if self.priority is not None and not self.background:
            raise InvalidRequest("only a job has a priority: set background", "priority")


async def answer_with_job(
    services: Services,
    caller: Caller,
    idempotency_key: str | None,
    kind: JobKind,
    request: JobRequest,
    asked: object,
) -> Response:
    """Keep what was asked (a domain record, checked) and acknowledge the job that will do it.

    Raises Forbidden for a key without ``jobs:write``, ArtifactStoreUnavailable, and as ``acknowledge_request`` does.
    What is not acknowledged leaves nothing behind.
    """
    require_scope(caller, "jobs:write")
    job_id = new_job_id(caller.tenant, idempotency_key)
    # A folder of its own, as for any upload: a repeat must not overwrite what the first one asked.
    folder = f"{caller.tenant}/{job_id}/upload-{secrets.token_hex(8)}"
    async with scratch_folder(services.artifacts, folder) as scratch:
        upload = await keep_request(services.artifacts, folder, kind, asked)
        new = new_request_job(caller.tenant, job_id, kind, request, upload)
        return _accepted(await acknowledge_request(services, new, scratch))


def _accepted(job: Job) -> Response:
    body = job_body(job)
    return JSONResponse(body.model_dump(mode="json"), 202, headers={"location": body.links.self})
