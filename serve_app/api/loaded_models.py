"""What is loaded behind the ports, asked with a short timeout: a model that still loads must not hold anyone up."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from pipelines.domain.model import ModelInfo
from pipelines.errors import RayScribeError
from serve_app.services import Services

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
