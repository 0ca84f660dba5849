"""The application on fakes, in process; and the guard that nothing of ours holds up the event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import pytest
import structlog
import uvicorn
from blockbuster import BlockBuster, blockbuster_ctx
from fastapi import FastAPI

from pipelines.audio.decode import PyavDecoder
from pipelines.audio.reader import LocalReader
from pipelines.domain.job import NewJob
from pipelines.fakes.accounts import InMemoryAccounts
from pipelines.fakes.jobs import InMemoryJobQueue
from pipelines.fakes.models import FakeDiarizer, FakeEmbedder, FakeSpeechDetector, FakeSpeechMeter, FakeTranscriber
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.fakes.scripted_speech import Utterance, write_wav
from pipelines.fakes.steps import InMemoryStepRunner
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.jobs.erasures import ErasureJournal
from pipelines.jobs.ports import RecordingPorts
from pipelines.jobs.run import RequestPorts, job_flows, run_job
from pipelines.jobs.single_stage import ReindexPorts
from pipelines.language.understand import RecordingUnderstanding
from pipelines.outbound.fetch import FetchLimits, HttpFetcher
from serve_app.api.application import create_app
from serve_app.options import outbound_policy
from serve_app.services import Services
from serve_app.settings import Settings
from tests.api.stand_ins import QuietCluster, RecordedMetrics

SPEECH = (
    Utterance(start_s=0.5, end_s=2.0, text="the exam is in june", speaker=0),
    Utterance(start_s=2.5, end_s=4.0, text="and who will grade it", speaker=1),
)


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[BlockBuster]:
    """Fail a test in which our code blocks its event loop. No exemptions."""
    with blockbuster_ctx(scanned_modules=["serve_app", "pipelines"]) as guard:
        yield guard


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """Everything that was logged, with what is bound to the context."""
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as entries:
        yield entries


@pytest.fixture(scope="session")
def wav() -> bytes:
    """Four seconds and a half, two speakers."""
    return write_wav(SPEECH)


@dataclass(slots=True)
class World:
    """An application and everything behind it."""

    services: Services
    artifacts: InMemoryArtifactStore
    jobs: InMemoryJobQueue
    transcriber: FakeTranscriber
    passages: InMemoryPassageStore
    cluster: QuietCluster
    metrics: RecordedMetrics
    app: FastAPI
    client: httpx.AsyncClient = field(init=False)

    @property
    def stored(self) -> list[str]:
        """All keys in the artifact store."""
        return sorted(self.artifacts._data)

    @asynccontextmanager
    async def client_for(self, key: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """A client that holds this key."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            yield client


def build_world(settings: Settings, *, run_jobs: bool = True, **replaced: Any) -> World:
    """Build an application on fakes; ``replaced`` are Services fields."""
    artifacts = replaced.pop("artifacts", None) or InMemoryArtifactStore()
    language = replaced.get("language")
    transcriber, diarizer, embedder = FakeTranscriber(), FakeDiarizer(), FakeEmbedder()
    erasures = InMemoryArtifactStore()
    passages, cluster, metrics = InMemoryPassageStore(), QuietCluster(), RecordedMetrics()
    ports = RecordingPorts(
        reader=LocalReader(artifacts.open, PyavDecoder(), lambda _options: FakeSpeechDetector()),
        transcriber=transcriber,
        artifacts=artifacts,
        diarizer=diarizer,
        embedder=embedder,
        passages=passages,
        understanding=RecordingUnderstanding(language) if language is not None else None,
        fetcher=HttpFetcher(artifacts, outbound_policy(settings), FetchLimits(attempts=1)),
    )

    async def run(job: NewJob, steps: InMemoryStepRunner) -> object:
        return await run_job(flows, job, steps)

    jobs = replaced.pop("jobs", None) or InMemoryJobQueue(run if run_jobs else None)
    fakes: dict[str, Any] = {
        "settings": settings,
        "artifacts": artifacts,
        "erasures": ErasureJournal(erasures),
        "jobs": jobs,
        "accounts": InMemoryAccounts(),
        "reader": ports.reader,
        "transcriber": transcriber,
        "diarizer": diarizer,
        "embedder": embedder,
        "passages": passages,
        "cluster": cluster,
        "metrics": metrics,
        "speech_meter": FakeSpeechMeter,
    }
    services = Services(**{**fakes, **replaced})
    reindexing = ReindexPorts(
        embedder=services.embedder,
        passages=services.passages,
        replacer=cast(InMemoryPassageStore, services.passages),
    )
    requests = RequestPorts(language=services.language, chat=services.chat, reindexing=reindexing)
    flows = job_flows(ports, requests)
    app = create_app(services)
    return World(services, artifacts, jobs, transcriber, passages, cluster, metrics, app)


BuildWorld = Callable[..., Any]


@pytest.fixture
async def build() -> AsyncIterator[BuildWorld]:
    """Build worlds, each with a client, and stop them at the end."""
    async with AsyncExitStack() as stack:

        async def make(settings: Settings | None = None, *, key: str | None = None, **replaced: Any) -> World:
            # In a thread: building looks for files, once, before anything is served.
            world = await asyncio.to_thread(build_world, settings or Settings(), **replaced)
            stack.push_async_callback(world.jobs.close)
            world.client = await stack.enter_async_context(world.client_for(key))
            return world

        yield make


class _Server(uvicorn.Server):
    """Says when it listens, and leaves signals to pytest."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """Serve an application on a free port of this machine, in this event loop; yields its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    await server.listens.wait()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def world(build: BuildWorld) -> World:
    """The local profile: no keys."""
    made: World = await build()
    return made


@pytest.fixture
async def idle(build: BuildWorld) -> World:
    """A world in which jobs wait."""
    world: World = await build(run_jobs=False)
    return world
