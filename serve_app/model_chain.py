"""Model chains: what to try, in order. The first that loads serves; every failure is recorded and shown."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from pipelines.domain.model import Degradation, ModelRole
from pipelines.errors import ModelUnavailable, RayScribeError
from serve_app.services import MetricsSink
from serve_app.settings import SHIPPED_FOLDER, DataSettings, ModelChoice

EngineT = TypeVar("EngineT")
Loader = Callable[[ModelChoice, Path], Awaitable[EngineT]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Generic[EngineT]):
    """The engine that serves, and why it is this one."""

    engine: EngineT
    choice: ModelChoice
    fallback: Degradation | None
    """None where the first of the chain loaded."""


def model_folder(choice: ModelChoice, data: DataSettings) -> Path:
    """Return where a model should be: its own path (relative: it ships with the project) or below the models folder."""
    if choice.path is None:
        return data.models / choice.name
    path = Path(choice.path).expanduser()
    return path if path.is_absolute() else SHIPPED_FOLDER / path


async def load_first(
    role: ModelRole,
    chain: Sequence[ModelChoice],
    loaders: dict[str, Loader[EngineT]],
    data: DataSettings,
    metrics: MetricsSink,
) -> Loaded[EngineT]:
    """Try the choices in order and return the first that loads.

    Raises ModelUnavailable, naming each choice and why it failed, where none does.
    """
    failures: list[str] = []
    for choice in chain:
        try:
            engine = await loaders[choice.backend](choice, model_folder(choice, data))
        except RayScribeError as error:
            log.info("model_not_loaded", role=role, backend=choice.backend, model=choice.name, reason=error.message)
            metrics.count("model_loads", role=role, backend=choice.backend, outcome="failed")
            failures.append(f"{choice.name}: {error.message}")
            continue
        metrics.count("model_loads", role=role, backend=choice.backend, outcome="loaded")
        log.info("model_loaded", role=role, backend=choice.backend, model=choice.name, fallback=bool(failures))
        return Loaded(engine=engine, choice=choice, fallback=_fallback(role, chain[0], choice, failures))
    raise ModelUnavailable(f"no {role} model could be loaded ({'; '.join(failures) or 'the chain is empty'})")


def _fallback(role: ModelRole, wanted: ModelChoice, used: ModelChoice, failures: list[str]) -> Degradation | None:
    if not failures:
        return None
    return Degradation(stage=role, wanted=wanted.name, used=used.name, reason="; ".join(failures))


def require_folder(path: Path) -> Path:
    """Return the folder. Raises ModelUnavailable where it does not exist; loading never downloads."""
    if not path.is_dir():
        raise ModelUnavailable("it is not on disk (rayscribe models pull brings it)")
    return path
