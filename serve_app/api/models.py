"""Which models really run."""

import time

from fastapi import APIRouter, Request

from pipelines.errors import NotFound
from serve_app.api.authentication import AnyCaller
from serve_app.api.context import ServicesOf
from serve_app.api.documentation import error_answers
from serve_app.api.loaded_models import loaded_models
from serve_app.api.model_shapes import ModelList, OpenAiModel, model_body, openai_model

router = APIRouter(tags=["models"])


@router.get("/v1/models", summary="Models, in OpenAI's list and in MAIE's", responses=error_answers())
async def list_models(request: Request, caller: AnyCaller, services: ServicesOf) -> ModelList:
    """List what is loaded and what is still loading."""
    models = await loaded_models(services)
    created = _first_seen(request)
    return ModelList(
        data=[openai_model(info, created) for info in models.values() if info],
        models=[model_body(role, info, show_path="admin" in caller.scopes) for role, info in models.items()],
    )


@router.get("/v1/models/{model:path}", summary="One model, as OpenAI shows it", responses=error_answers(404))
async def get_model(request: Request, model: str, _caller: AnyCaller, services: ServicesOf) -> OpenAiModel:
    """Show one loaded model; its name may hold slashes, as in ``Qwen/Qwen3-4B``."""
    for info in (await loaded_models(services)).values():
        if info is not None and info.name == model:
            return openai_model(info, _first_seen(request))
    raise NotFound("there is no such model", "model")


def _first_seen(request: Request) -> int:
    """Seconds since 1970 at which this replica began to answer: a model has no better date of birth here."""
    state = request.app.state
    if not hasattr(state, "models_first_seen"):
        state.models_first_seen = int(time.time())
    return int(state.models_first_seen)
