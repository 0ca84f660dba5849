"""What the HTTP application is a function of."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ray import serve

from pipelines.audio.speech import SileroMeter
from pipelines.jobs.erasures import Eraser, ErasureJournal
from pipelines.language.ports import LanguagePorts
from pipelines.ports.accounts import AccountStore
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.audio import RecordingReader, SpeechMeter
from pipelines.ports.jobs import JobQueue
from pipelines.ports.language import ChatRelay, LanguageModel
from pipelines.ports.models import Diarizer, Embedder, Reranker, Transcriber
from pipelines.ports.passages import PassageStore
from pipelines.retrieval.ports import ChatPorts
from serve_app.metrics import MetricsSink, NoMetrics
from serve_app.options import chat_options
from serve_app.resilience import Guard
from serve_app.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentState:
    """One deployment as the cluster sees it."""

    name: str
    status: str
    """Serve's own word: ``HEALTHY``, ``UPDATING``, ``UNHEALTHY``, ``DEPLOY_FAILED``, …"""
    replicas: int
    """Running now."""
    message: str = ""


class ClusterStatus(Protocol):
    """What runs, and whether breakers are open."""

    async def deployments(self) -> tuple[DeploymentState, ...]:
        """Return all deployments of this application, sorted by name; empty where it cannot be known."""
        ...

    def breakers(self) -> Mapping[str, str]:
        """Return dependency → ``closed`` | ``open`` | ``half-open`` of this process."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a request handler may use."""

    settings: Settings
    artifacts: ArtifactStore
    jobs: JobQueue
    accounts: AccountStore
    reader: RecordingReader
    transcriber: Transcriber
    diarizer: Diarizer
    embedder: Embedder
    passages: PassageStore
    erasures: ErasureJournal
    cluster: ClusterStatus
    queries: Embedder | None = None
    """The embedder as questions reach it, with a memory; None: the embedder itself."""
    reranker: Reranker | None = None
    """None: this profile has none, and says so."""
    language_model: LanguageModel | None = None
    """None: answers are extractive, and marked so."""
    chat_relay: ChatRelay | None = None
    """The same, for clients' own requests; None where there is none."""
    language: LanguagePorts | None = None
    """What text skills work with; None: they, and the job features made of them, are not offered."""
    speech_meter: Callable[[], SpeechMeter] = SileroMeter
    """Makes what hears, in one live session, whether somebody speaks; loads a network the first time."""
    metrics: MetricsSink = field(default_factory=NoMetrics)

    @property
    def question_embedder(self) -> Embedder:
        """What embeds the questions of searches and chats."""
        return self.queries or self.embedder

    @property
    def eraser(self) -> Eraser:
        """What erases for good."""
        return Eraser(queue=self.jobs, artifacts=self.artifacts, passages=self.passages, journal=self.erasures)

    @property
    def chat(self) -> ChatPorts:
        """What answers are made with."""
        return ChatPorts(
            embedder=self.question_embedder,
            passages=self.passages,
            reranker=self.reranker,
            language_model=self.language_model,
            options=chat_options(self.settings),
        )


class RayClusterStatus:
    """Implements ClusterStatus: asks Serve's controller, and this process's breakers."""

    def __init__(self, application: str, guard: Guard) -> None:
        """Take the application's name on Serve."""
        self._application = application
        self._guard = guard

    async def deployments(self) -> tuple[DeploymentState, ...]:
        """Ask the controller, in a thread because Serve's call blocks."""
        status = await asyncio.to_thread(serve.status)
        application = status.applications.get(self._application)
        if application is None:
            return ()
        return tuple(
            DeploymentState(
                name=name,
                status=str(deployment.status.value),
                replicas=sum(count for state, count in deployment.replica_states.items() if state == "RUNNING"),
                message=deployment.message,
            )
            for name, deployment in sorted(application.deployments.items())
        )

    def breakers(self) -> Mapping[str, str]:
        """Return this process's view."""
        return self._guard.states


def present_ports(services: Services) -> frozenset[str]:
    """Return which ports that features may need are there, by their names in the table of features."""
    language = services.language
    found = {"diarizer", "embedder", "passages"}
    found |= {"understanding"} if language is not None else set()
    return frozenset(found | ({"language_model"} if language is not None and language.model is not None else set()))
