"""Model chains: what to try, in order. The first that loads serves; every failure is recorded and shown.

    load      first of the chain that loads
    a call    ── out of memory ──▶ the engine halves its batch ── not even one fits ──▶ the next of the chain that loads

An engine halves its batch by itself (``pipelines/batching.py``); what it raises as ModelOutOfMemory
does not fit it at all.
"""

import asyncio
import gc
import inspect
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import structlog

from pipelines.domain.model import ROLE_STAGES, Degradation, ModelInfo, ModelRole
from pipelines.errors import InvalidRequest, ModelError, ModelOutOfMemory, ModelUnavailable, RayScribeError
from serve_app.metrics import MetricsSink
from serve_app.models.catalogue import locate
from serve_app.settings import SHIPPED_FOLDER, DataSettings, ModelChoice


class Describable(Protocol):
    """What all engines have in common."""

    async def info(self) -> ModelInfo:
        """Say what is loaded."""
        ...


AnyT = TypeVar("AnyT")
EngineT = TypeVar("EngineT", bound=Describable)
ResultT = TypeVar("ResultT")
Loader = Callable[[ModelChoice, Path], Awaitable[AnyT]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Generic[AnyT]):
    """The engine that serves, and why it is this one."""

    engine: AnyT
    choice: ModelChoice
    fallback: Degradation | None
    """None where the first of the chain loaded."""


@dataclass(slots=True, eq=False)
class _Serving(Generic[EngineT]):
    loaded: Loaded[EngineT]
    batch_size: int | None
    """What one batch took when the engine was loaded."""
    calls: list[float] = field(default_factory=list)
    """When those under way began. An engine that was replaced is closed when the last has ended."""


class ModelChain(Generic[EngineT]):
    """The engine of one role that serves now. Make it with ``load``."""

    def __init__(
        self,
        role: ModelRole,
        chain: Sequence[ModelChoice],
        loaders: dict[str, Loader[EngineT]],
        data: DataSettings,
        metrics: MetricsSink,
        serving: _Serving[EngineT],
    ) -> None:
        self._role: ModelRole = role
        self._chain = chain
        self._loaders = loaders
        self._data = data
        self._metrics = metrics
        self._serving = serving
        self._left = _after(role, chain, serving.loaded.choice)
        self._descending = asyncio.Lock()
        self.failures_in_a_row = 0
        """Calls that ended in an error of the model since one was answered: health looks closer then."""

    @property
    def busy(self) -> bool:
        """Whether calls are under way."""
        return bool(self._serving.calls)

    @property
    def longest_wait_s(self) -> float:
        """How long the oldest call under way has taken until now; 0 where there is none."""
        calls = self._serving.calls
        return time.monotonic() - min(calls) if calls else 0.0

    @classmethod
    async def load(
        cls,
        role: ModelRole,
        chain: Sequence[ModelChoice],
        loaders: dict[str, Loader[EngineT]],
        data: DataSettings,
        metrics: MetricsSink,
    ) -> "ModelChain[EngineT]":
        """Load the first of the chain that loads. Raises ModelUnavailable as ``load_first`` does."""
        loaded = await load_first(role, chain, loaders, data, metrics)
        return cls(role, chain, loaders, data, metrics, await _serving(loaded))

    async def call(self, verb: Callable[[EngineT], Awaitable[ResultT]]) -> ResultT:
        """Return what ``verb`` makes of the engine that serves; where it lacks memory, of the next one that loads.

        Raises what ``verb`` raises; ModelOutOfMemory only where no engine is left to try.
        """
        while True:
            serving = self._serving
            try:
                return await self._counted(serving, verb)
            except ModelOutOfMemory as error:
                await self._descend_from(serving, error)

    async def info(self) -> ModelInfo:
        """Describe what serves, with its place in the chain, or its smaller batch, as ``fallback``."""
        serving = self._serving
        info = await serving.loaded.engine.info()
        fallback = serving.loaded.fallback or _smaller_batch(self._role, serving.batch_size, info)
        return replace(info, fallback=fallback, demo=info.demo or serving.loaded.choice.demo)

    async def _counted(self, serving: _Serving[EngineT], verb: Callable[[EngineT], Awaitable[ResultT]]) -> ResultT:
        started_s = time.monotonic()
        serving.calls.append(started_s)
        try:
            result = await verb(serving.loaded.engine)
            self.failures_in_a_row = 0
            return result
        except (ModelUnavailable, ModelError):
            self.failures_in_a_row += 1
            raise
        finally:
            serving.calls.remove(started_s)
            if serving is not self._serving and not serving.calls:
                await _close(serving.loaded.engine)

    async def _descend_from(self, serving: _Serving[EngineT], error: ModelOutOfMemory) -> None:
        """Put the next engine that loads in the place of ``serving``; raise ``error`` where there is none.

        The old one stays until the new one is there: calls that fit it go on meanwhile.
        """
        async with self._descending:
            if self._serving is not serving:
                return
            left, self._left = self._left, ()
            try:
                loaded = await load_first(self._role, left, self._loaders, self._data, self._metrics)
            except ModelUnavailable:
                raise error from None
            fallback = self._fallback_to(loaded.choice, serving.loaded.fallback, error)
            self._left = _after(self._role, self._chain, loaded.choice)
            self._serving = await _serving(replace(loaded, fallback=fallback))
        log.warning("model_replaced", role=self._role, used=fallback.used, reason=error.message)
        self._metrics.count("fallbacks", stage=ROLE_STAGES[self._role], used=fallback.used)
        if not serving.calls:
            await _close(serving.loaded.engine)

    def _fallback_to(self, choice: ModelChoice, earlier: Degradation | None, error: ModelOutOfMemory) -> Degradation:
        wanted, used = _names(self._chain[0], choice)
        reason = f"{error.message} (since {datetime.now(UTC).isoformat(timespec='seconds')})"
        return Degradation(
            stage=ROLE_STAGES[self._role],
            wanted=wanted,
            used=used,
            reason=f"{earlier.reason}; {reason}" if earlier else reason,
        )


async def _serving(loaded: Loaded[EngineT]) -> _Serving[EngineT]:
    return _Serving(loaded, (await loaded.engine.info()).batch_size)


def _after(role: ModelRole, chain: Sequence[ModelChoice], choice: ModelChoice) -> tuple[ModelChoice, ...]:
    """Return what may replace ``choice`` while it serves. Vectors of two models do not mix: there only the device."""
    rest = chain[chain.index(choice) + 1 :]
    if role != "embedder":
        return tuple(rest)
    return tuple(other for other in rest if (other.backend, other.name) == (choice.backend, choice.name))


def _names(wanted: ModelChoice, used: ModelChoice) -> tuple[str, str]:
    """Name two choices so that they differ: by model, else by what they run on and in."""
    if wanted.name != used.name:
        return wanted.name, used.name
    return _full_name(wanted), _full_name(used)


def _full_name(choice: ModelChoice) -> str:
    return f"{choice.name} ({choice.device}, {choice.compute_type})"


def _smaller_batch(role: ModelRole, wanted: int | None, info: ModelInfo) -> Degradation | None:
    used = info.batch_size
    if used == wanted:
        return None
    return Degradation(
        stage=ROLE_STAGES[role], wanted=f"batches of {wanted}", used=f"batches of {used}", reason="out of memory"
    )


async def _close(engine: object) -> None:
    """Let go of an engine that was replaced, and of the memory that torch would keep for the next one."""
    close = getattr(engine, "close", None)
    if inspect.iscoroutinefunction(close):
        await close()
    elif close is not None:
        await asyncio.to_thread(close)
    asyncio.get_running_loop().call_soon(_give_back_memory)  # when no frame holds the engine any more


def _give_back_memory() -> None:
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def model_folder(choice: ModelChoice, data: DataSettings) -> Path:
    """Return where a model should be: its own path (relative: it ships with the project) or below a models folder."""
    if choice.path is None:
        return locate(choice.name, data.model_folders)
    path = Path(choice.path).expanduser()
    return path if path.is_absolute() else SHIPPED_FOLDER / path


async def load_first(
    role: ModelRole,
    chain: Sequence[ModelChoice],
    loaders: dict[str, Loader[AnyT]],
    data: DataSettings,
    metrics: MetricsSink,
) -> Loaded[AnyT]:
    """Try the choices in order and return the first that loads.

    Raises ModelUnavailable, naming each choice and why it failed, where none does.
    """
    failures: list[str] = []
    for choice in chain:
        require_backend(role, choice, loaders)
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


def require_backend(role: ModelRole, choice: ModelChoice, known: Collection[str]) -> None:
    """Raise InvalidRequest for a name that no engine of this role has: a mistake in the settings, not a fallback."""
    if choice.backend not in known:
        names = ", ".join(sorted(known))
        raise InvalidRequest(f"no {role} has the backend {choice.backend!r}; there are {names}", "backend")


def _fallback(role: ModelRole, wanted: ModelChoice, used: ModelChoice, failures: list[str]) -> Degradation | None:
    if not failures:
        return None
    return Degradation(stage=ROLE_STAGES[role], wanted=wanted.name, used=used.name, reason="; ".join(failures))


def require_folder(path: Path) -> Path:
    """Return the folder. Raises ModelUnavailable where it does not exist; loading never downloads."""
    if not path.is_dir():
        raise ModelUnavailable("it is not on disk (rayscribe models pull brings it)")
    return path
