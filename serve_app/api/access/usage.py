"""What a tenant used, by day."""

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from pipelines.accounts.keys import Holder, reachable_tenant
from pipelines.errors import InvalidRequest
from serve_app.api.access.keys import Tenant
from serve_app.api.edge.authentication import Administrator
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.limits import UsageMeter
from serve_app.api.edge.requests import ServicesOf

router = APIRouter(tags=["keys"])
_LONGEST_DAYS = 366


class UsageDayBody(BaseModel):
    """One day (UTC)."""

    date: str
    requests: int
    jobs: int = Field(description="That ended well.")
    audio_minutes: float = Field(description="Of recordings that were heard.")
    tokens: int = Field(description="In and out of the language model, for chat completions.")


class UsageBody(BaseModel):
    """Days on which something was used, oldest first."""

    object: Literal["usage"] = "usage"
    tenant: str
    data: list[UsageDayBody]


@router.get("/v1/usage", summary="What was used, by day", responses=error_answers())
async def usage(
    request: Request,
    caller: Administrator,
    services: ServicesOf,
    start: Annotated[date | None, Query(description="First day; left out: thirty days before the last.")] = None,
    end: Annotated[date | None, Query(description="Last day; left out: today (UTC).")] = None,
    tenant: Tenant = None,
) -> UsageBody:
    """Sum what a tenant used; what other replicas served is there after two seconds."""
    owner = reachable_tenant(Holder(tenant=caller.tenant, scopes=caller.scopes), tenant)
    meter: UsageMeter = request.app.state.usage
    last = end or date.fromisoformat(meter.today)
    first = start or date.fromordinal(max(1, last.toordinal() - 30))
    if not 0 <= (last - first).days < _LONGEST_DAYS:
        raise InvalidRequest("from start to end there may be a year, and end must not be before start", "start")
    await meter.write()
    days = await services.accounts.usage_days(owner, first.isoformat(), last.isoformat())
    return UsageBody(
        tenant=owner,
        data=[
            UsageDayBody(
                date=day.day,
                requests=round(day.amounts.get("requests", 0)),
                jobs=round(day.amounts.get("jobs", 0)),
                audio_minutes=round(day.amounts.get("audio_s", 0.0) / 60, 3),
                tokens=round(day.amounts.get("tokens", 0)),
            )
            for day in days
        ],
    )
