"""Memory that runs short at run time: smaller batches first, then the next of the chain, and it shows."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipelines.batching import BatchStatistics, DynamicBatcher
from pipelines.domain.model import ROLE_STAGES, AsrInfo, Degradation, ModelInfo, ModelRole, Urgency
from pipelines.errors import ModelOutOfMemory, ModelUnavailable
from serve_app.models.chain import ModelChain
from serve_app.models.engines import _measure_batch
from serve_app.settings import DataSettings, ModelChoice

GPU = ModelChoice(backend="engine", name="large", device="cuda")
CPU = ModelChoice(backend="engine", name="large", device="cpu")
SMALL = ModelChoice(backend="engine", name="small", device="cuda")
ABSENT = ModelChoice(backend="absent", name="absent")


@dataclass(eq=False)
class Engine:
    """Says its name, unless it lacks memory."""

    name: str
    fits: bool = True
    batch_size: int = 8
    closed: bool = False
    hold: asyncio.Event | None = None

    async def say(self) -> str:
        assert not self.closed, "an engine is used after it was closed"
        if self.hold is not None:
            await self.hold.wait()
        if not self.fits:
            raise ModelOutOfMemory("the batch did not fit")
        return self.name

    async def info(self) -> ModelInfo:
        return AsrInfo(backend="engine", name=self.name, batch_size=self.batch_size)

    async def close(self) -> None:
        self.closed = True


@dataclass
class Counts:
    """A sink that remembers what was counted."""

    counted: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def count(self, name: str, value: float = 1.0, **labels: str) -> None:
        self.counted.append((name, labels))

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Only counts matter here."""

    def set(self, name: str, value: float, **labels: str) -> None:
        """Only counts matter here."""


@dataclass
class Shelf:
    """The engines of a chain, and what was loaded."""

    roomy: Sequence[ModelChoice]
    loaded: list[Engine] = field(default_factory=list)
    metrics: Counts = field(default_factory=Counts)

    async def chain(self, role: ModelRole, *choices: ModelChoice) -> ModelChain[Engine]:
        loaders: dict[str, Callable[[ModelChoice, Path], Awaitable[Engine]]] = {
            "engine": self._load,
            "absent": self._refuse,
        }
        return await ModelChain.load(role, choices, loaders, DataSettings(), self.metrics)

    async def _load(self, choice: ModelChoice, path: Path) -> Engine:
        self.loaded.append(Engine(f"{choice.name} {choice.device}", fits=choice in self.roomy))
        return self.loaded[-1]

    async def _refuse(self, choice: ModelChoice, path: Path) -> Engine:
        raise ModelUnavailable("it is not on disk")


@pytest.mark.parametrize(
    ("role", "choices", "roomy", "answers", "wanted", "used"),
    [
        ("asr", (GPU, CPU), [CPU], "large cpu", "large (cuda, default)", "large (cpu, default)"),
        ("asr", (GPU, SMALL, CPU), [SMALL, CPU], "small cuda", "large", "small"),
        ("asr", (GPU, SMALL, CPU), [CPU], "large cpu", "large (cuda, default)", "large (cpu, default)"),
        ("diarizer", (GPU, ABSENT, SMALL), [SMALL], "small cuda", "large", "small"),
        ("asr", (ABSENT, GPU, SMALL), [SMALL], "small cuda", "absent", "small"),
        ("embedder", (GPU, SMALL, CPU), [SMALL, CPU], "large cpu", "large (cuda, default)", "large (cpu, default)"),
    ],
)
async def test_the_next_that_loads_and_fits_answers(
    role: ModelRole,
    choices: Sequence[ModelChoice],
    roomy: Sequence[ModelChoice],
    answers: str,
    wanted: str,
    used: str,
) -> None:
    shelf = Shelf(roomy)
    chain = await shelf.chain(role, *choices)
    assert await chain.call(Engine.say) == answers
    fallback = (await chain.info()).fallback
    assert fallback is not None
    assert (fallback.stage, fallback.wanted, fallback.used) == (ROLE_STAGES[role], wanted, used)
    assert "the batch did not fit (since 20" in fallback.reason
    assert [engine.closed for engine in shelf.loaded] == [True] * (len(shelf.loaded) - 1) + [False]
    assert ("fallbacks", {"stage": ROLE_STAGES[role], "used": used}) in shelf.metrics.counted


@pytest.mark.parametrize(
    ("role", "choices"), [("asr", (GPU,)), ("asr", (GPU, ABSENT)), ("asr", (GPU, CPU)), ("embedder", (GPU, SMALL))]
)
async def test_where_nothing_is_left_the_call_fails_and_later_ones_are_tried(
    role: ModelRole, choices: Sequence[ModelChoice]
) -> None:
    shelf = Shelf([])
    chain = await shelf.chain(role, *choices)
    for _ in range(2):
        with pytest.raises(ModelOutOfMemory):
            await chain.call(Engine.say)
    shelf.loaded[-1].fits = True
    assert await chain.call(Engine.say) == shelf.loaded[-1].name


async def test_calls_that_fail_together_bring_one_replacement() -> None:
    shelf = Shelf([CPU])
    chain = await shelf.chain("asr", GPU, CPU)
    assert set(await asyncio.gather(*(chain.call(Engine.say) for _ in range(8)))) == {"large cpu"}
    assert len(shelf.loaded) == 2


async def test_a_replaced_engine_ends_its_calls_before_it_is_closed() -> None:
    shelf = Shelf([CPU])
    chain = await shelf.chain("asr", GPU, CPU)
    old = shelf.loaded[0]
    old.hold = asyncio.Event()
    waiting = asyncio.create_task(chain.call(Engine.say))
    await asyncio.sleep(0)
    held, old.hold = old.hold, None
    assert await chain.call(Engine.say) == "large cpu"
    assert not old.closed
    old.fits = True
    held.set()
    assert await waiting == "large cuda"
    assert old.closed


async def test_a_smaller_batch_is_shown_as_a_fallback() -> None:
    shelf = Shelf([GPU])
    chain = await shelf.chain("asr", GPU)
    assert (await chain.info()).fallback is None
    shelf.loaded[0].batch_size = 2
    assert (await chain.info()).fallback == Degradation(
        stage="transcribe", wanted="batches of 8", used="batches of 2", reason="out of memory"
    )


async def test_a_halved_batch_is_counted() -> None:
    metrics = Counts()
    seen: list[BatchStatistics] = []

    def decode(items: Sequence[int]) -> Sequence[int]:
        if len(items) > 1:
            raise ModelOutOfMemory("the batch did not fit")
        return items

    def on_batch(batch: BatchStatistics) -> None:
        seen.append(batch)
        _measure_batch(batch, metrics)

    batcher: DynamicBatcher[int, int] = DynamicBatcher(decode, batch_size=4, on_batch=on_batch)
    asked = (batcher.submit(item, key="k", urgency=Urgency.BULK) for item in range(4))
    assert await asyncio.gather(*asked) == [0, 1, 2, 3]
    await batcher.close()
    assert [(batch.items, batch.out_of_memory) for batch in seen] == [
        (4, True),
        (2, True),
        (1, False),
        (1, False),
        (2, True),
        (1, False),
        (1, False),
    ]
    assert metrics.counted.count(("fallbacks", {"stage": "transcribe", "used": "a smaller batch"})) == 3
