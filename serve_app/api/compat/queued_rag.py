"""The queued RAG's routes: a question becomes a job, whose answer is fetched. And its health, at ``/``."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

from pipelines import __version__
from pipelines.domain.answer import Answer, ChatRequest, Message
from pipelines.domain.encoding import from_plain
from pipelines.domain.job import Job, JobRequest, JobStatus
from pipelines.errors import InvalidRequest
from pipelines.jobs.result import read_job
from serve_app.api.compat.edge import detail_answers
from serve_app.api.edge.authentication import Chatter, JobReader
from serve_app.api.edge.requests import RequestBody, ServicesOf
from serve_app.api.jobs.fields import NAME_PATTERN, IdempotencyKey, JobId
from serve_app.api.retrieval.chat import answer_later
from serve_app.api.retrieval.chat_shapes import CitationBody, chat_body
from serve_app.services import Services

router = APIRouter(tags=["Queued RAG"])
Word = Literal["queued", "started", "finished", "failed", "stopped"]
_WORDS: dict[JobStatus, Word] = {
    JobStatus.QUEUED: "queued",
    JobStatus.RUNNING: "started",
    JobStatus.SUCCEEDED: "finished",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "stopped",
}


class QuestionFields(RequestBody):
    """A question, as a body."""

    query: str = Field(min_length=1)
    collection: str | None = Field(default=None, pattern=NAME_PATTERN)


class QueuedJob(BaseModel):
    """Where a question stands, in the queue's word and in capitals."""

    job_id: str
    status: Word
    state: str
    """The same in upper case."""


class QueuedResult(QueuedJob):
    """The answer, once the job has finished."""

    result: str | None
    citations: list[CitationBody]
    error: str | None


class RootHealth(BaseModel):
    """This process answers."""

    status: Literal["ok"] = "ok"
    service: Literal["RayScribe"] = "RayScribe"
    version: str


class RootRoute(APIRoute):
    """``GET /`` for clients that would rather have JSON; for all others the route is not there, and the page's is."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match what would rather have JSON, or everything where the setting ``compat.root`` says so."""
        services: Services = scope["app"].state.services
        accept = Headers(scope=scope).get("accept", "")
        if services.settings.compat.root == "health" or prefers_json(accept):
            return super().matches(scope)
        return Match.NONE, {}


def prefers_json(accept: str) -> bool:
    """Whether an Accept header (RFC 9110, 12.5.1) likes application/json better than text/html.

    Of two that it likes equally, the one that it names; of two that it names, the first.
    """
    liked: dict[str, tuple[float, int]] = {}
    for place, entry in enumerate(accept.lower().split(",")):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        liked.setdefault(kind, (_quality(weight), -place))
    anything = (liked.get("*/*", (0.0, 0))[0], -len(accept))
    json = liked.get("application/json", liked.get("application/*", anything))
    return json[0] > 0 and json > liked.get("text/html", liked.get("text/*", anything))


def _quality(weight: str) -> float:
    try:
        return min(1.0, max(0.0, float(weight)))
    except ValueError:
        return 0.0


async def root() -> RootHealth:
    """Say that this process answers."""
    return RootHealth(version=__version__)


router.routes.append(RootRoute("/", root, methods=["GET"], include_in_schema=False))


@router.post(
    "/chat", status_code=202, summary="Ask, and fetch the answer (queued RAG)", responses=detail_answers(404, 409)
)
async def chat(
    caller: Chatter,
    services: ServicesOf,
    idempotency_key: IdempotencyKey,
    fields: QuestionFields | None = None,
    query: Annotated[str | None, Query(min_length=1, description="The question; or in the body.")] = None,
) -> QueuedJob:
    """Ask a collection as `POST /v1/chat` does in the background; needs the scope `jobs:write` as well."""
    if (fields is None) == (query is None):
        raise InvalidRequest("give the query as a parameter or in the body", "query")
    question = query if fields is None else fields.query
    if len(question or "") > services.settings.limits.query_characters:
        raise InvalidRequest(f"a query has at most {services.settings.limits.query_characters:,} characters", "query")
    collection = (fields.collection if fields else None) or services.settings.compat.collection
    asked = ChatRequest(messages=(Message(role="user", content=question or ""),), collections=(collection,))
    job_request = JobRequest(features=(), collection=collection)
    return QueuedJob(**_where(await answer_later(services, caller, idempotency_key, asked, job_request)))


@router.get("/job-status/{job_id}", summary="Where a question stands (queued RAG)", responses=detail_answers(404))
async def job_status(job_id: JobId, caller: JobReader, services: ServicesOf) -> QueuedJob:
    """Say it in the queue's words."""
    return QueuedJob(**_where(await services.jobs.get(caller.tenant, job_id)))


@router.get("/result/{job_id}", summary="The answer (queued RAG)", responses=detail_answers(404))
async def job_result(job_id: JobId, caller: JobReader, services: ServicesOf) -> QueuedResult:
    """Give the answer; null until the job has finished."""
    job, result = await read_job(services.jobs, services.artifacts, caller.tenant, job_id)
    found = dict(result.results) if result else {}
    answer = chat_body(from_plain(Answer, found["chat"])) if "chat" in found else None
    return QueuedResult(
        **_where(job),
        result=answer.answer if answer else None,
        citations=answer.citations if answer else [],
        error=job.error.message if job.error else None,
    )


def _where(job: Job) -> dict[str, Any]:
    word = _WORDS[job.status]
    return {"job_id": job.job_id, "status": word, "state": word.upper()}
