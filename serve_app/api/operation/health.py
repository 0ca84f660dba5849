"""Is it alive, is it ready, and what exactly is it doing."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse

from pipelines import __version__
from pipelines.domain.model import ModelInfo
from serve_app.api.edge.authentication import Administrator, AnyCaller
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import ServicesOf
from serve_app.api.edge.shapes import DegradationBody
from serve_app.api.openai.models import ASK_TIMEOUT_S, ModelBody, loaded_models, model_body
from serve_app.services import Services

router = APIRouter(tags=["health"])
PROBE_TENANT = "_health"
"""Begins as no tenant's name does, and holds nothing."""
State = Literal["ok", "degraded", "down"]
Probes = Mapping[str, Callable[[], Awaitable[object]]]
AnswerT = TypeVar("AnswerT")


class Check(BaseModel):
    """One dependency, asked just now."""

    status: Literal["ok", "down"]
    latency_ms: float
    code: str | None = None


class Liveness(BaseModel):
    """This process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether this replica can take work."""

    status: Literal["ok", "down"]
    checks: dict[str, Check]


class DeploymentBody(BaseModel):
    """One deployment as the cluster sees it."""

    name: str
    status: str
    replicas: int
    message: str


class QueueBody(BaseModel):
    """Jobs that wait."""

    total_waiting: int | None
    drained_per_s: float | None


class DetailedHealth(BaseModel):
    """Everything an operator asks first."""

    status: State
    version: str
    profile: str
    checks: dict[str, Check]
    models: list[ModelBody]
    deployments: list[DeploymentBody]
    breakers: dict[str, str]
    degraded: list[DegradationBody]
    queue: QueueBody
    broken_templates: dict[str, str]
    """Template id → what is wrong with it."""


class ModelHealth(BaseModel):
    """Whether each model role answers."""

    status: State
    models: list[ModelBody]
    degraded: list[DegradationBody]


@router.get("/health/live", summary="This process answers")
async def live() -> Liveness:
    """Say so."""
    return Liveness()


@router.get(
    "/health/ready",
    summary="This replica can take work",
    responses={200: {"model": Readiness}, 503: {"model": Readiness, "description": "A dependency is down."}},
)
async def ready(services: ServicesOf) -> JSONResponse:
    """Ask the job database, the artifact store and the transcriber, each with a short timeout."""
    checks = await _check(_needed(services))
    status: Literal["ok", "down"] = "ok" if _all_ok(checks) else "down"
    body = Readiness(status=status, checks=checks).model_dump()
    return JSONResponse(body, 200 if status == "ok" else 503, headers={} if status == "ok" else {"retry-after": "5"})


@router.get("/health/detailed", summary="Models, queue, stores, breakers, fallbacks", responses=error_answers())
async def detailed(_caller: Administrator, services: ServicesOf) -> DetailedHealth:
    """Report on all there is; what cannot be known is null, never an error."""
    checks, models, deployments, queue = await asyncio.gather(
        _check({**_needed(services), "passages": lambda: services.passages.collections(PROBE_TENANT)}),
        loaded_models(services),
        _deployments(services),
        _queue(services),
    )
    degraded = _fallbacks(services, models)
    breakers = dict(services.cluster.breakers())
    return DetailedHealth(
        status=_overall(_all_ok(checks), bool(degraded) or any(state != "closed" for state in breakers.values())),
        version=__version__,
        profile=services.settings.profile,
        checks=checks,
        models=[model_body(role, info, show_path=True) for role, info in models.items()],
        deployments=deployments,
        breakers=breakers,
        degraded=degraded,
        queue=queue,
        broken_templates=dict(services.language.templates.broken) if services.language else {},
    )


@router.get("/health/models", summary="Which models answer", responses=error_answers())
async def models_health(caller: AnyCaller, services: ServicesOf) -> ModelHealth:
    """Report on models alone."""
    models = await loaded_models(services)
    degraded = _fallbacks(services, models)
    return ModelHealth(
        status=_overall(all(models.values()), bool(degraded)),
        models=[model_body(role, info, show_path="admin" in caller.scopes) for role, info in models.items()],
        degraded=degraded,
    )


def _needed(services: Services) -> Probes:
    """What this replica cannot do without. Search can be down while jobs go on."""
    return {
        "jobs": lambda: services.jobs.depth(PROBE_TENANT),
        "artifacts": lambda: services.artifacts.size(f"{PROBE_TENANT}/probe/nothing"),
        "transcriber": services.transcriber.info,
    }


async def _check(probes: Probes) -> dict[str, Check]:
    results = await asyncio.gather(*(_probe(probe) for probe in probes.values()))
    return dict(zip(probes, results, strict=True))


async def _probe(probe: Callable[[], Awaitable[object]]) -> Check:
    started_s = time.perf_counter()
    code = None
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            await probe()
    except Exception as error:
        # Only the code: what broke, and how, is for the logs.
        code = "timeout" if isinstance(error, TimeoutError) else getattr(error, "code", "internal_error")
    latency_ms = round(1000 * (time.perf_counter() - started_s), 1)
    return Check(status="down" if code else "ok", latency_ms=latency_ms, code=code)


async def _deployments(services: Services) -> list[DeploymentBody]:
    states = await _answer_of(services.cluster.deployments) or ()
    return [
        DeploymentBody(name=state.name, status=state.status, replicas=state.replicas, message=state.message)
        for state in states
    ]


async def _queue(services: Services) -> QueueBody:
    depth = await _answer_of(lambda: services.jobs.depth(PROBE_TENANT))
    return QueueBody(
        total_waiting=depth.total_waiting if depth else None, drained_per_s=depth.drained_per_s if depth else None
    )


async def _answer_of(ask: Callable[[], Awaitable[AnswerT]]) -> AnswerT | None:
    """Return the answer; None where there is none in time, for a report that must not fail with what it reports on."""
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            return await ask()
    except Exception:
        return None


def _fallbacks(services: Services, models: Mapping[str, ModelInfo | None]) -> list[DegradationBody]:
    found = [_degradation(info) for info in models.values() if info and info.fallback]
    if services.language_model is None:
        found.append(
            DegradationBody(
                stage="understand", wanted="a language model", used="extractive", reason="none is configured"
            )
        )
    return found


def _degradation(info: ModelInfo) -> DegradationBody:
    body = model_body(info.role, info, show_path=False).fallback
    assert body is not None
    return body


def _all_ok(checks: Mapping[str, Check]) -> bool:
    return all(check.status == "ok" for check in checks.values())


def _overall(works: bool, degraded: bool) -> State:
    if not works:
        return "down"
    return "degraded" if degraded else "ok"
