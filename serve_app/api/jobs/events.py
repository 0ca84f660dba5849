"""A job's events as they happen, resumable from any of them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from pipelines.domain.job import JobEvent
from pipelines.errors import InvalidRequest
from pipelines.jobs import result as read_job
from serve_app.api.edge.authentication import JobReader
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import ServicesOf
from serve_app.api.edge.streaming import EventStreamResponse, ServerSentEvent
from serve_app.api.jobs.fields import JobId

router = APIRouter(tags=["jobs"])
_STREAM = {
    "description": "`queued`, `started`, `stage`, `window`; ends after `succeeded`, `failed` or `cancelled`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
_NOTHING_FOLLOWS = {"description": "The job has ended, and `Last-Event-ID` is its last event: do not come again."}


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Progress, and the transcript as it grows",
    response_class=Response,
    responses={200: _STREAM, 204: _NOTHING_FOLLOWS, **error_answers(404)},
)
async def job_events(
    job_id: JobId,
    caller: JobReader,
    services: ServicesOf,
    last_event_id: Annotated[str | None, Header(description="Go on after this event.")] = None,
) -> Response:
    """Stream a job's events from the first, or from the one after ``Last-Event-ID``."""
    after = _offset(last_event_id)
    # Asked first: an unknown job is a 404, and a stream that resumes must not wait for news before it answers.
    job = await services.jobs.get(caller.tenant, job_id)
    resumed = after >= 0
    if resumed and job.status.ended and await _is_empty(services.jobs.events(caller.tenant, job_id, after=after)):
        # What an EventSource takes for the end; an empty stream it would ask for again and again.
        return Response(status_code=204)
    events = read_job.job_events(services.jobs, services.artifacts, caller.tenant, job_id, after=after)
    return EventStreamResponse(_encode(events))


async def _is_empty(events: AsyncGenerator[JobEvent, None]) -> bool:
    """Say whether there are no events; of a job that has ended, whose events are all there."""
    async with aclosing(events):
        return await anext(events, None) is None


async def _encode(events: AsyncGenerator[JobEvent, None]) -> AsyncGenerator[ServerSentEvent, None]:
    async with aclosing(events):
        async for event in events:
            yield ServerSentEvent(id=event.id, type=event.type, data={"id": event.id, "type": event.type, **event.data})


def _offset(last_event_id: str | None) -> int:
    if last_event_id is None or last_event_id == "":
        return -1
    if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) <= 15):
        raise InvalidRequest("Last-Event-ID must be the id of an event", "Last-Event-ID")
    return int(last_event_id)
