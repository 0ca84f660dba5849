"""What was erased, and erasing by more than one job at a time."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, Field, model_validator

from pipelines.domain.encoding import to_plain
from pipelines.domain.job import Job, JobFilters, JobKind
from pipelines.errors import NotFound
from pipelines.jobs.erasures import Erasure
from pipelines.jobs.result import read_job
from serve_app.api.edge.authentication import Administrator, Caller
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import RequestBody, ServicesOf
from serve_app.api.jobs.fields import NAME_PATTERN
from serve_app.services import Services

router = APIRouter(tags=["jobs"])
_AT_ONCE = 100
"""Jobs that one request erases at most: a client asks again until none is left."""


class ErasureBody(BaseModel):
    """One thing that was erased. It holds ids and counts, no words."""

    object: Literal["erasure"] = "erasure"
    id: str
    kind: Literal["job", "collection"]
    target: str
    """The job's id; of a collection a hash of its name."""
    cause: Literal["asked", "expired"]
    erased_at: str
    artifacts: int | None
    """How many files went; null: it was begun, and is completed at the next start."""
    passages: int | None


class ErasureList(BaseModel):
    """A page of the journal, newest first."""

    object: Literal["list"] = "list"
    data: list[ErasureBody]
    has_more: bool
    next_cursor: str | None


class ErasureFields(RequestBody):
    """Which jobs to erase: those for which all that is given holds."""

    collection: str | None = Field(default=None, pattern=NAME_PATTERN)
    speaker: str | None = Field(default=None, min_length=1, max_length=200, description="Somebody who speaks in it.")
    created_before: AwareDatetime | None = None
    everything: bool = Field(default=False, description="All jobs of the tenant; nothing else may be given.")

    @model_validator(mode="after")
    def _says_what(self) -> "ErasureFields":
        given = any(value is not None for value in (self.collection, self.speaker, self.created_before))
        if given == self.everything:
            raise ValueError("give a collection, a speaker or created_before; or everything, and nothing else")
        return self


class ErasureOutcome(BaseModel):
    """What a request has erased."""

    erased: list[ErasureBody]
    remaining: bool
    """True: ask again with the same body."""


@router.get("/v1/erasures", summary="What was erased", responses=error_answers())
async def list_erasures(
    caller: Administrator,
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=40, description="`next_cursor` of the page before.")] = None,
) -> ErasureList:
    """List the tenant's journal of erasures: it is kept where no backup of the data brings anything back."""
    entries, following = await services.erasures.page(caller.tenant, cursor=cursor, limit=limit)
    return ErasureList(data=list(map(_body, entries)), has_more=following is not None, next_cursor=following)


@router.get("/v1/erasures/{erasure_id}", summary="One erasure", responses=error_answers(404))
async def get_erasure(
    erasure_id: Annotated[str, Path(max_length=40)], caller: Administrator, services: ServicesOf
) -> ErasureBody:
    """Say what went."""
    return _body(await services.erasures.get(caller.tenant, erasure_id))


@router.post("/v1/erasures", summary="Erase jobs by collection, speaker or age", responses=error_answers(404))
async def erase_many(caller: Administrator, services: ServicesOf, fields: ErasureFields) -> ErasureOutcome:
    """Erase recordings, transcripts, passages and records of all jobs that fit, a hundred at a time."""
    found = await _fitting(services, caller, fields)
    erased = []
    for job in found[:_AT_ONCE]:
        try:
            entry = await services.eraser.erase(caller.tenant, job.job_id)
        except NotFound:
            continue  # somebody else was faster, or it went with its recording
        if entry is not None:
            erased.append(_body(entry))
    return ErasureOutcome(erased=erased, remaining=len(found) > _AT_ONCE)


async def _fitting(services: Services, caller: Caller, fields: ErasureFields) -> list[Job]:
    """Return the jobs that fit, one more than are erased at once where there are so many."""
    before = fields.created_before.isoformat() if fields.created_before else None
    filters, cursor = JobFilters(collection=fields.collection, created_before=before), None
    found: list[Job] = []
    while True:
        page = await services.jobs.list_jobs(caller.tenant, filters, cursor=cursor, limit=100)
        found += [
            job for job in page.jobs if fields.speaker is None or await _speaks(services, caller, job, fields.speaker)
        ]
        cursor = page.next_cursor
        if cursor is None or len(found) > _AT_ONCE:
            return found


async def _speaks(services: Services, caller: Caller, job: Job, speaker: str) -> bool:
    if job.kind is not JobKind.RECORDING:
        return False
    _job, result = await read_job(services.jobs, services.artifacts, caller.tenant, job.job_id)
    return result is not None and speaker in result.speakers


def _body(erasure: Erasure) -> ErasureBody:
    plain = to_plain(erasure)
    return ErasureBody(id=plain.pop("erasure_id"), **{key: value for key, value in plain.items() if key != "tenant"})
