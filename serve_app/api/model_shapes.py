"""Models as the API lists them: OpenAI's shape and MAIE's, of the same facts."""

from typing import Any, Literal

from pydantic import BaseModel

from pipelines.domain.model import ModelInfo
from serve_app.api.shapes import DegradationBody


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


class ModelList(BaseModel):
    """Both lists in one body."""

    object: Literal["list"] = "list"
    data: list[OpenAiModel]
    models: list[ModelBody]


def model_body(role: str, info: ModelInfo | None, *, show_path: bool) -> ModelBody:
    """Show one role's model; ``info`` None: it has not loaded. Paths are for administrators only."""
    if info is None:
        return ModelBody(id=role, role=role, status="loading")
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
        details=dict(info.details),
    )


def openai_model(info: ModelInfo, created: int) -> OpenAiModel:
    """Show a loaded model as OpenAI would; ``created``: when this process learned of it, seconds since 1970."""
    return OpenAiModel(id=info.name, created=created, owned_by=info.backend)
