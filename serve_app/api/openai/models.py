"""Which models are loaded, for OpenAI's clients and for operators."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from fastapi import APIRouter, Request
from pydantic import BaseModel

from pipelines.domain.model import ModelInfo
from pipelines.errors import NotFound, RayScribeError
from serve_app.api.edge.authentication import AnyCaller, Caller
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import ServicesOf
from serve_app.api.edge.shapes import DegradationBody
from serve_app.services import Services


class OpenAiModel(BaseModel):
    """An entry of OpenAI's list."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelBody(BaseModel):
    """One model role; what is not known while it loads is null."""

    id: str
    """Its backend."""
    role: str
    status: Literal["ready", "loading"]
    name: str | None = None
    variant: str | None = None
    path: str | None = None
    description: str = ""
    capabilities: list[str] = []
    languages: list[str] = []
    compute_type: str | None = None
    device: str | None = None
    memory_bytes: int | None = None
    checkpoint_hash: str | None = None
    demo: bool = False
    fallback: DegradationBody | None = None
    details: dict[str, Any] = {}
    backend_id: str
    """What MAIE called ``id``; so the next three, of ``variant``, ``path`` and ``memory_bytes``."""
    default_variant: str | None = None
    model_path: str | None = None
    """Relative to the models folder."""
    vram_gb: float | None = None


class ModelList(BaseModel):
    """Both lists in one body."""

    object: Literal["list"] = "list"
    data: list[OpenAiModel]
    models: list[ModelBody]


def model_body(role: str, info: ModelInfo | None, *, show_path: bool) -> ModelBody:
    """Show one role's model; ``info`` None: it has not loaded. Paths are for administrators only."""
    if info is None:
        return ModelBody(id=role, role=role, status="loading", backend_id=role)
    return ModelBody(
        id=info.backend,
        role=info.role,
        status="ready",
        name=info.name,
        variant=info.variant,
        path=info.path if show_path else None,
        description=info.description,
        capabilities=list(info.capabilities),
        languages=list(info.languages),
        compute_type=info.compute_type,
        device=info.device,
        memory_bytes=info.memory_bytes,
        checkpoint_hash=info.checkpoint_hash,
        demo=info.demo,
        fallback=DegradationBody(
            stage=info.fallback.stage, wanted=info.fallback.wanted, used=info.fallback.used, reason=info.fallback.reason
        )
        if info.fallback
        else None,
        details=info.details,
        backend_id=info.backend,
        default_variant=info.variant or info.name,
        model_path=info.name,
        vram_gb=round(info.memory_bytes / 1e9, 3) if info.memory_bytes is not None else None,
    )


def openai_model(info: ModelInfo, created: int) -> OpenAiModel:
    """Show a loaded model as OpenAI would; ``created``: when this process learned of it, seconds since 1970."""
    return OpenAiModel(id=info.name, created=created, owned_by=info.backend)


ASK_TIMEOUT_S = 2.0


class Describable(Protocol):
    """What all model ports have in common."""

    async def info(self) -> ModelInfo:
        """Say what is loaded."""
        ...


async def loaded_models(services: Services, *, timeout_s: float = ASK_TIMEOUT_S) -> Mapping[str, ModelInfo | None]:
    """Return each role's model, None where it does not answer (yet); roles that this profile lacks are left out."""
    askable = _askable(services)
    infos = await asyncio.gather(*(_ask(port, timeout_s) for port in askable.values()))
    return dict(zip(askable, infos, strict=True))


def _askable(services: Services) -> Mapping[str, Describable]:
    ports: dict[str, Describable | None] = {
        "asr": services.transcriber,
        "diarizer": services.diarizer,
        "embedder": services.embedder,
        "reranker": services.reranker,
        "llm": services.language_model,
    }
    return {role: port for role, port in ports.items() if port is not None}


async def _ask(port: Describable, timeout_s: float) -> ModelInfo | None:
    try:
        async with asyncio.timeout(timeout_s):
            return await port.info()
    except (TimeoutError, RayScribeError):
        return None


router = APIRouter(tags=["models"])


@router.get("/v1/models", summary="Models, in OpenAI's list and in MAIE's", responses=error_answers())
async def list_models(request: Request, caller: AnyCaller, services: ServicesOf) -> ModelList:
    """List what is loaded and what is still loading."""
    models = await loaded_models(services)
    collections = await _collections(services, caller) if "chat" in caller.scopes else []
    return ModelList(
        data=[*_listed(models, services.settings.openai.aliases, _first_seen(request)), *collections],
        models=[model_body(role, info, show_path="admin" in caller.scopes) for role, info in models.items()],
    )


@router.get("/v1/models/{model:path}", summary="One model, as OpenAI shows it", responses=error_answers(404))
async def get_model(request: Request, model: str, _caller: AnyCaller, services: ServicesOf) -> OpenAiModel:
    """Show one loaded model; its name may hold slashes, as in ``Qwen/Qwen3-4B``."""
    models = await loaded_models(services)
    for listed in _listed(models, services.settings.openai.aliases, _first_seen(request)):
        if listed.id == model:
            return listed
    raise NotFound("there is no such model", "model")


COLLECTION_PREFIX = "collection:"
"""Before the name of a collection: the model that answers from it."""


def _listed(
    models: Mapping[str, ModelInfo | None], aliases: Mapping[str, str | None], created: int
) -> list[OpenAiModel]:
    """Return what is loaded, then the other names that it answers to."""
    own = [openai_model(info, created) for info in models.values() if info]
    named = {name: info for name, role in aliases.items() if (info := models.get(role or ""))}
    return [*own, *(OpenAiModel(id=name, created=created, owned_by=info.name) for name, info in named.items())]


async def _collections(services: Services, caller: Caller) -> list[OpenAiModel]:
    """Return the caller's collections as models that answer from them; none where the store does not answer."""
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            found = await services.passages.collections(caller.tenant)
    except (TimeoutError, RayScribeError):
        return []
    return [OpenAiModel(id=f"{COLLECTION_PREFIX}{entry.name}", created=0, owned_by=caller.tenant) for entry in found]


def _first_seen(request: Request) -> int:
    """Seconds since 1970 at which this replica began to answer: a model has no better date of birth here."""
    state = request.app.state
    if not hasattr(state, "models_first_seen"):
        state.models_first_seen = int(time.time())
    return int(state.models_first_seen)
