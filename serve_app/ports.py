"""Handles and stores become ports: one bundle of them, made once a process."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.jobs.run import RequestPorts
from pipelines.jobs.single_stage import ReindexPorts
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from pipelines.language.templates import load_templates
from pipelines.ports.language import LanguageModel
from pipelines.retrieval.ports import ChatPorts
from pipelines.retrieval.query_cache import CachedQueries
from serve_app.metrics import MetricsSink
from serve_app.options import chat_options, understanding_options
from serve_app.remote.language_model import DEPLOYMENT_NAME as LANGUAGE_MODEL
from serve_app.remote.language_model import connect_language_model
from serve_app.remote.models import (
    RemoteDiarizer,
    RemoteEmbedder,
    RemoteRecordingReader,
    RemoteReranker,
    RemoteTranscriber,
)
from serve_app.remote.passages import RemotePassageStore
from serve_app.resilience import Guard
from serve_app.settings import SHIPPED_FOLDER, Settings

if TYPE_CHECKING:
    pass

SHIPPED_TEMPLATES = SHIPPED_FOLDER / "configs" / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePorts:
    """Every port that is served by another process."""

    reader: RemoteRecordingReader
    transcriber: RemoteTranscriber
    diarizer: RemoteDiarizer
    embedder: RemoteEmbedder
    queries: CachedQueries
    """The embedder with a memory of questions: for searches and chats, not for what must hear of a change at once."""
    passages: RemotePassageStore
    reranker: RemoteReranker | None
    language_model: LanguageModel | None
    language: LanguagePorts


def assemble_ports(handles: dict[str, Any], settings: Settings, metrics: MetricsSink, guard: Guard) -> RemotePorts:
    """Wrap handles (deployment name → handle) into ports under the policies of ``settings``."""

    def on_lookup(hit: bool) -> None:
        metrics.count("query_embeddings", outcome="hit" if hit else "miss")

    policy = settings.resilience.model
    reranker = handles.get("Reranker")
    embedder = RemoteEmbedder(handles["Embedder"], "embedder", guard, policy)
    language_model = connect_language_model(settings, guard, handles.get(LANGUAGE_MODEL))
    return RemotePorts(
        reader=RemoteRecordingReader(
            settings.data.artifacts, settings.audio.detector, guard, settings.resilience.reader
        ),
        transcriber=RemoteTranscriber(handles["Transcriber"], "transcriber", guard, policy),
        diarizer=RemoteDiarizer(handles["Diarizer"], "diarizer", guard, policy),
        embedder=embedder,
        queries=CachedQueries(embedder, size=settings.search.remembered_questions, on_lookup=on_lookup),
        passages=RemotePassageStore(handles["PassageStore"], guard, settings.resilience),
        reranker=RemoteReranker(reranker, "reranker", guard, policy) if reranker is not None else None,
        language_model=language_model,
        language=LanguagePorts(
            templates=load_templates([SHIPPED_TEMPLATES, *settings.templates.folders]),
            analyst=ExtractiveAnalyst(embedder),
            model=language_model,
            options=understanding_options(settings),
        ),
    )


def request_ports(ports: RemotePorts, settings: Settings) -> RequestPorts:
    """Return what jobs without a recording need."""
    return RequestPorts(
        language=ports.language,
        chat=ChatPorts(
            embedder=ports.queries,
            passages=ports.passages,
            reranker=ports.reranker,
            language_model=ports.language_model,
            options=chat_options(settings),
        ),
        reindexing=ReindexPorts(embedder=ports.embedder, passages=ports.passages, replacer=ports.passages),
    )
