"""A sick engine ends in another replica: poisoned, hung or empty; a busy one does not."""

import asyncio
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipelines.domain.audio import Window
from pipelines.domain.model import AsrInfo, DiarizerInfo, ModelInfo
from pipelines.domain.passage import Embedding, SparseVector
from pipelines.domain.transcript import TranscriptionOptions, WindowTranscript
from pipelines.engine_errors import model_errors
from pipelines.errors import InvalidRequest, ModelUnavailable
from pipelines.fakes.models import FakeDiarizer, FakeEmbedder, FakeTranscriber
from pipelines.fakes.passages import FakeReranker
from serve_app.build import build_application
from serve_app.deployments.diarizer import DiarizerDeployment
from serve_app.deployments.embedder import EmbedderDeployment
from serve_app.deployments.reranker import RerankerDeployment
from serve_app.deployments.transcriber import TranscriberDeployment
from serve_app.metrics import NoMetrics
from serve_app.models.chain import ModelChain
from serve_app.models.engines import check_backends
from serve_app.models.health import (
    BUSY_INTERVAL_S,
    INTERVAL_S,
    ModelHealth,
    known_speech,
    probe_diarizer,
    probe_embedder,
    probe_reranker,
    probe_transcriber,
)
from serve_app.settings import DataSettings, ModelChoice, ModelSettings, Settings

CHOICE = ModelChoice(backend="engine", name="engine")


@dataclass(eq=False)
class Engine:
    """Answers, raises what a poisoned library raises, or hangs."""

    poisoned: bool = False
    hold: asyncio.Event | None = None
    calls: list[str] = field(default_factory=list)

    async def answer(self) -> str:
        self.calls.append("call")
        if self.hold is not None:
            await self.hold.wait()
        with model_errors("the engine"):
            if self.poisoned:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return "right"

    async def info(self) -> ModelInfo:
        return AsrInfo(backend="engine", name="engine")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


async def ask(engine: Engine) -> None:
    await engine.answer()


async def deny(engine: Engine) -> None:
    raise ModelUnavailable("nothing where speech is")


async def chain_of(engine: Engine) -> ModelChain[Engine]:
    async def load(choice: ModelChoice, path: Path) -> Engine:
        return engine

    return await ModelChain.load("asr", (CHOICE,), {"engine": load}, DataSettings(), NoMetrics())


async def test_a_healthy_engine_is_asked_once_an_interval() -> None:
    engine, clock = Engine(), Clock()
    health = ModelHealth(await chain_of(engine), ask, longest_call_s=60.0, clock=clock)
    for _ in range(3):
        await health.check()
    assert len(engine.calls) == 1
    clock.now_s += INTERVAL_S
    await health.check()
    assert len(engine.calls) == 2


async def test_a_poisoned_engine_is_unhealthy() -> None:
    health = ModelHealth(await chain_of(Engine(poisoned=True)), ask, longest_call_s=60.0)
    for _ in range(3):  # Serve replaces a replica that says so three times running
        with pytest.raises(ModelUnavailable, match="lost its device"):
            await health.check()


async def test_failing_calls_bring_the_next_known_input_forward() -> None:
    engine = Engine()
    chain = await chain_of(engine)
    health = ModelHealth(chain, ask, longest_call_s=60.0)
    await health.check()
    engine.poisoned = True
    for _ in range(3):
        with pytest.raises(ModelUnavailable):
            await chain.call(ask)
    with pytest.raises(ModelUnavailable):
        await health.check()
    engine.poisoned = False
    await health.check()
    assert chain.failures_in_a_row == 0


async def test_a_hung_engine_is_unhealthy() -> None:
    health = ModelHealth(await chain_of(Engine(hold=asyncio.Event())), ask, longest_call_s=60.0, probe_s=0.01)
    with pytest.raises(ModelUnavailable, match="did not answer a known input"):
        await health.check()


async def test_a_call_that_never_ends_is_noticed_without_asking() -> None:
    engine = Engine(hold=asyncio.Event())
    chain = await chain_of(engine)
    call = asyncio.create_task(chain.call(ask))
    await asyncio.sleep(0)
    health = ModelHealth(chain, ask, longest_call_s=0.0)
    with pytest.raises(ModelUnavailable, match="has not ended"):
        await health.check()
    call.cancel()


async def test_a_busy_engine_is_left_alone_for_a_while() -> None:
    engine, clock = Engine(hold=asyncio.Event()), Clock()
    chain = await chain_of(engine)
    call = asyncio.create_task(chain.call(ask))
    await asyncio.sleep(0)
    health = ModelHealth(chain, ask, longest_call_s=math.inf, clock=clock, probe_s=0.01)
    await health.check()
    clock.now_s += BUSY_INTERVAL_S - 1.0
    await health.check()
    assert len(engine.calls) == 1
    call.cancel()


async def test_an_engine_that_is_always_busy_is_asked_too_and_waited_for() -> None:
    engine, clock = Engine(hold=asyncio.Event()), Clock()
    chain = await chain_of(engine)
    call = asyncio.create_task(chain.call(ask))
    await asyncio.sleep(0)
    health = ModelHealth(chain, deny, longest_call_s=math.inf, clock=clock)
    await health.check()
    clock.now_s += BUSY_INTERVAL_S
    with pytest.raises(ModelUnavailable, match="nothing where speech is"):
        await health.check()
    call.cancel()

    patient = ModelHealth(chain, ask, longest_call_s=math.inf, clock=clock, probe_s=0.01)
    again = asyncio.create_task(chain.call(ask))
    await asyncio.sleep(0)
    await patient.check()
    clock.now_s += BUSY_INTERVAL_S
    await patient.check()  # what waits behind much work is not ill
    asked = len(engine.calls)
    await patient.check()
    assert len(engine.calls) == asked
    again.cancel()


class DeafTranscriber(FakeTranscriber):
    """A wheel that returns empty text without an error."""

    async def info(self) -> AsrInfo:
        return AsrInfo(backend="faster-whisper", name="deaf")


class HearingTranscriber(DeafTranscriber):
    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        assert window.speech_s > 5.0
        return await super().transcribe(Window(index=0, start_s=0.0, end_s=1.0, speech=(), samples=spoken()), options)


def spoken() -> Any:
    from pipelines.fakes.scripted_speech import Utterance, write_samples

    return write_samples([Utterance(text="Good morning.", start_s=0.0, end_s=0.9, speaker=0)])


async def test_a_recognizer_that_writes_nothing_is_unhealthy() -> None:
    with pytest.raises(ModelUnavailable, match="wrote nothing"):
        await probe_transcriber(DeafTranscriber())
    await probe_transcriber(HearingTranscriber())


class NumbEmbedder(FakeEmbedder):
    def __init__(self, value: float) -> None:
        super().__init__()
        self._value = value

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        return (Embedding(dense=(self._value, 1.0), sparse=SparseVector(indices=(), values=())),) * len(texts)


@pytest.mark.parametrize("value", [1.0, float("nan"), float("inf")])
async def test_an_embedder_to_which_all_is_alike_is_unhealthy(value: float) -> None:
    with pytest.raises(ModelUnavailable):
        await probe_embedder(NumbEmbedder(value))
    await probe_embedder(FakeEmbedder())


class RandomReranker(FakeReranker):
    async def rerank(self, query: str, texts: Sequence[str]) -> tuple[float, ...]:
        return (float("nan"),) * len(texts)


async def test_a_reranker_that_prefers_nonsense_is_unhealthy() -> None:
    with pytest.raises(ModelUnavailable):
        await probe_reranker(RandomReranker())
    await probe_reranker(FakeReranker())


class DeafDiarizer(FakeDiarizer):
    async def info(self) -> DiarizerInfo:
        return DiarizerInfo(backend="pyannote", name="deaf")


async def test_a_diarizer_that_hears_nobody_is_unhealthy() -> None:
    with pytest.raises(ModelUnavailable, match="heard nobody"):
        await probe_diarizer(DeafDiarizer())
    await probe_diarizer(FakeDiarizer())


def test_known_speech_is_speech() -> None:
    samples = known_speech()
    assert len(samples) == 6 * 16_000
    assert int(abs(samples).max()) > 1_000


async def deployed(deployment: type, module: str, engine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A replica of ``deployment`` whose chain is this engine."""

    async def load(choice: ModelChoice, path: Path) -> Any:
        return engine

    loaders = next(name for name in vars(sys.modules[deployment.__module__]) if name.endswith("_loaders"))
    monkeypatch.setattr(f"serve_app.deployments.{module}.{loaders}", lambda *_: {"fake": load})
    replica: Any = object.__new__(deployment)
    models = ModelSettings(chain=(ModelChoice(backend="fake", name="scripted"),))
    settings: dict[str, Any] = {module: models}
    await replica.__init__(Settings(**settings))
    return replica


@pytest.mark.parametrize(
    ("deployment", "module", "well", "sick"),
    [
        (TranscriberDeployment, "transcriber", FakeTranscriber, DeafTranscriber),
        (DiarizerDeployment, "diarizer", FakeDiarizer, DeafDiarizer),
        (EmbedderDeployment, "embedder", FakeEmbedder, lambda: NumbEmbedder(1.0)),
        (RerankerDeployment, "reranker", FakeReranker, RandomReranker),
    ],
)
async def test_what_serve_asks_is_answered_by_the_known_input(
    deployment: type, module: str, well: Callable[[], Any], sick: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await deployed(deployment, module, well(), monkeypatch)).check_health()
    replica = await deployed(deployment, module, sick(), monkeypatch)
    with pytest.raises(ModelUnavailable):
        await replica.check_health()


def test_an_unknown_backend_is_named_with_those_that_there_are() -> None:
    chain = (ModelChoice(backend="whsiper", name="small"),)
    with pytest.raises(InvalidRequest, match=r"no asr has the backend 'whsiper'; there are fake, faster-whisper"):
        check_backends(Settings(transcriber=ModelSettings(chain=chain)))


def test_the_application_is_not_built_with_an_unknown_backend() -> None:
    chain = (ModelChoice(backend="no-such", name="x"),)
    with pytest.raises(InvalidRequest, match="no embedder has the backend 'no-such'"):
        build_application(Settings(embedder=ModelSettings(chain=chain)))
