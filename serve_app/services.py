"""What the HTTP application is a function of: ports and settings, no Ray."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipelines.flows.chat_ports import ChatPorts
from pipelines.flows.enhance_transcript import LanguagePorts
from pipelines.passage_ports import PassageStore
from pipelines.ports import (
    ArtifactStore,
    Diarizer,
    Embedder,
    JobQueue,
    LanguageModel,
    RecordingReader,
    Reranker,
    Transcriber,
)
from serve_app.chat_options import chat_options
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


class MetricsSink(Protocol):
    """Counts and measures; names and labels are declared in ``serve_app/metrics.py``."""

    def count(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Record one value of a histogram."""
        ...

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...


class NoMetrics:
    """A sink that forgets: for tests of everything but metrics."""

    def count(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Forget."""

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Forget."""

    def set(self, name: str, value: float, **labels: str) -> None:
        """Forget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a request handler may use."""

    settings: Settings
    artifacts: ArtifactStore
    jobs: JobQueue
    reader: RecordingReader
    transcriber: Transcriber
    diarizer: Diarizer
    embedder: Embedder
    passages: PassageStore
    cluster: ClusterStatus
    queries: Embedder | None = None
    """The embedder as questions reach it, with a memory; None: the embedder itself."""
    reranker: Reranker | None = None
    """None: this profile has none, and says so."""
    language_model: LanguageModel | None = None
    """None: answers are extractive, and marked so."""
    language: LanguagePorts | None = None
    """What text skills work with; None: they, and the job features made of them, are not offered."""
    metrics: MetricsSink = field(default_factory=NoMetrics)

    @property
    def question_embedder(self) -> Embedder:
        """What embeds the questions of searches and chats."""
        return self.queries or self.embedder

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
