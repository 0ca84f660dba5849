"""The tools, each over the flow that the HTTP route of the same meaning runs. Answers are the routes' own shapes."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from pipelines.domain.job import JobFilters, JobStatus
from pipelines.domain.transcript import Segment
from pipelines.errors import Conflict, InvalidRequest, RayScribeError
from pipelines.jobs.result import read_job, read_transcript
from pipelines.retrieval.answers import answer_question, collect_answer
from serve_app.api.edge.authentication import Caller, require_scope
from serve_app.api.jobs.shapes import job_body
from serve_app.api.retrieval.chat import ChatFields
from serve_app.api.retrieval.chat_shapes import chat_body
from serve_app.api.retrieval.search import SearchFields, measured_search, search_body, to_request
from serve_app.services import Services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.server import MCPServer

MOST_CHARACTERS = 20_000
"""Of one part of a transcript: what fits beside other things into a model's context."""
_INSTRUCTIONS = """\
Recordings that were transcribed, with who said what and when. Find passages with search, or ask a question and get an
answer whose citations name recording, moment and speaker. Times are seconds from the start of a recording. A recording
is a job."""
Collections = Annotated[
    list[str], Field(min_length=1, max_length=20, description="Names; list_collections says which.")
]
JobIdField = Annotated[str, Field(description="As search results and list_recordings name it.", max_length=64)]


def build_server(services: Services) -> "MCPServer[Any]":
    """Return the server, which acts for whoever the request's key belongs to. Imports the SDK: about a second."""
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Context

    from pipelines import __version__

    server: MCPServer[Any] = MCPServer("rayscribe", version=__version__, instructions=_INSTRUCTIONS)

    @server.tool(annotations=_reading())
    async def search(
        context: Context[Any, Any],
        query: Annotated[str, Field(min_length=1, description="Words, or what is meant by them.")],
        collections: Collections,
        top_k: Annotated[int, Field(ge=1, le=50)] = 8,
        speakers: Annotated[list[str] | None, Field(max_length=20)] = None,
    ) -> dict[str, Any]:
        """Find passages by meaning and by words, with recording, moment, speakers and where to hear them."""
        with _said_clearly():
            caller = _allowed(context, "search")
            fields = SearchFields.model_validate(
                {
                    "query": query,
                    "collections": collections,
                    "top_k": top_k,
                    "filters": {"speakers": speakers or []},
                }
            )
            asked = to_request(fields, services.settings.limits)
            found = await measured_search(services, caller.tenant, asked)
            return search_body(query, found).model_dump(mode="json")

    @server.tool(annotations=_reading())
    async def ask(
        context: Context[Any, Any], question: Annotated[str, Field(min_length=1)], collections: Collections
    ) -> dict[str, Any]:
        """Answer a question from recordings; every citation was checked against what was really said."""
        with _said_clearly():
            caller = _allowed(context, "chat")
            if len(question) > services.settings.limits.query_characters:
                raise InvalidRequest(
                    f"a question has at most {services.settings.limits.query_characters:,} characters", "question"
                )
            fields = ChatFields.model_validate({"question": question, "collections": collections})
            answer = await collect_answer(answer_question(services.chat, caller.tenant, fields.to_request()))
            return chat_body(answer).model_dump(mode="json", exclude={"sources", "versions"})

    @server.tool(annotations=_reading())
    async def list_collections(context: Context[Any, Any]) -> dict[str, Any]:
        """List the collections that can be searched, with how many passages each has."""
        with _said_clearly():
            caller = _allowed(context, "search")
            found = await services.passages.collections(caller.tenant)
            return {"collections": [{"name": each.name, "passages": each.passages} for each in found]}

    @server.tool(annotations=_reading())
    async def list_recordings(
        context: Context[Any, Any],
        status: Literal["queued", "running", "succeeded", "failed", "cancelled"] | None = None,
        collection: Annotated[str | None, Field(max_length=128)] = None,
        limit: Annotated[int, Field(ge=1, le=100)] = 20,
    ) -> dict[str, Any]:
        """List recordings, newest first, with their status."""
        with _said_clearly():
            caller = _allowed(context, "jobs:read")
            filters = JobFilters(status=JobStatus(status) if status else None, collection=collection)
            page = await services.jobs.list_jobs(caller.tenant, filters, cursor=None, limit=limit)
            shown = {"id", "status", "stage", "progress", "recording", "collection", "created_at", "error"}
            return {"recordings": [job_body(job).model_dump(mode="json", include=shown) for job in page.jobs]}

    @server.tool(annotations=_reading())
    async def recording_status(context: Context[Any, Any], job_id: JobIdField) -> dict[str, Any]:
        """Say where a recording stands: progress while it runs, results, speakers and warnings when it has ended."""
        with _said_clearly():
            caller = _allowed(context, "jobs:read")
            job, result = await read_job(services.jobs, services.artifacts, caller.tenant, job_id)
            return job_body(job, result).model_dump(
                mode="json", exclude={"versions": True, "results": {"raw_transcript"}}
            )

    @server.tool(annotations=_reading())
    async def read_recording(
        context: Context[Any, Any],
        job_id: JobIdField,
        start_s: Annotated[float, Field(ge=0, description="Begin here.")] = 0.0,
        end_s: Annotated[float | None, Field(ge=0, description="End here; without it, as much as fits.")] = None,
    ) -> dict[str, Any]:
        """Read a part of a transcript: who said what when. ``next_start_s`` says where to go on, null at the end."""
        with _said_clearly():
            caller = _allowed(context, "jobs:read")
            _job, revision = await read_transcript(services.jobs, services.artifacts, caller.tenant, job_id)
            if revision is None:
                raise Conflict("this recording has no transcript yet")
            lines, following = _part(revision.transcript.segments, start_s, end_s)
            return {
                "language": revision.transcript.language,
                "duration_s": revision.transcript.duration_s,
                "revision": revision.number,
                "segments": lines,
                "next_start_s": following,
            }

    return server


def _part(
    segments: tuple[Segment, ...], start_s: float, end_s: float | None
) -> tuple[list[dict[str, Any]], float | None]:
    """Return what is said from ``start_s`` on, until ``end_s`` or until it is much, and where the rest begins."""
    lines: list[dict[str, Any]] = []
    characters = 0
    for segment in segments:
        if segment.end_s <= start_s:
            continue
        if end_s is not None and segment.start_s >= end_s:
            return lines, None
        characters += len(segment.text)
        if lines and characters > MOST_CHARACTERS:
            return lines, segment.start_s
        lines.append(
            {"start_s": segment.start_s, "end_s": segment.end_s, "speaker": segment.speaker, "text": segment.text}
        )
    return lines, None


def _reading() -> Any:
    from mcp_types import ToolAnnotations

    return ToolAnnotations(read_only_hint=True, open_world_hint=False)


def _allowed(context: Any, scope: str) -> Caller:
    """Return whose request it is. Raises Forbidden for a key without the scope."""
    caller: Caller = context.request_context.request.scope["state"]["caller"]
    require_scope(caller, scope)
    return caller


@contextmanager
def _said_clearly() -> "Iterator[None]":
    """Tell the model what is wrong with what it asked, by the API's stable codes; anything else stays on the server."""
    from mcp.server.mcpserver.exceptions import ToolError

    try:
        yield
    except RayScribeError as error:
        raise ToolError(f"{error.code}: {error.message}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise ToolError(f"invalid_field: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
