"""Handles and stores become ports: one bundle of them, made once a process."""

from dataclasses import dataclass
from typing import Any, TypeVar

from pipelines.jobs.erasures import ErasureJournal
from pipelines.jobs.run import RequestPorts
from pipelines.jobs.single_stage import ReindexPorts
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from pipelines.language.templates import load_templates
from pipelines.ports.artifacts import KeepsHouse
from pipelines.ports.audio import RecordingReader
from pipelines.ports.language import ChatRelay, LanguageModel
from pipelines.ports.models import Diarizer, Embedder, Reranker, Transcriber
from pipelines.ports.passages import CollectionReplacer, PassageStore
from pipelines.retrieval.ports import ChatPorts
from pipelines.retrieval.query_cache import CachedQueries
from pipelines.stores.artifacts import FsspecArtifactStore
from serve_app.metrics import MetricsSink
from serve_app.options import chat_options, understanding_options
from serve_app.remote.guarded import guarded, over_handle
from serve_app.remote.language_model import DEPLOYMENT_NAME as LANGUAGE_MODEL
from serve_app.remote.language_model import connect_language_model
from serve_app.remote.policy_table import policy_table
from serve_app.remote.recording_reader import TaskRecordingReader
from serve_app.resilience import Guard
from serve_app.settings import SHIPPED_FOLDER, Settings

PortT = TypeVar("PortT")
SHIPPED_TEMPLATES = SHIPPED_FOLDER / "configs" / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePorts:
    """Every port that a store or another process answers."""

    artifacts: KeepsHouse
    erasures: ErasureJournal
    reader: RecordingReader
    transcriber: Transcriber
    diarizer: Diarizer
    embedder: Embedder
    queries: CachedQueries
    """The embedder with a memory of questions: for searches and chats, not for what must hear of a change at once."""
    passages: PassageStore
    replacer: CollectionReplacer
    reranker: Reranker | None
    language_model: LanguageModel | None
    chat_relay: ChatRelay | None
    language: LanguagePorts


async def assemble_ports(
    handles: dict[str, Any], settings: Settings, metrics: MetricsSink, guard: Guard
) -> RemotePorts:
    """Make ports of handles (deployment name → handle) and stores, under the policies of ``settings``."""
    table = policy_table(settings.resilience)

    def under(port: type[PortT], target: object) -> PortT:
        return guarded(port, target, guard, table[port])

    def behind(port: type[PortT], deployment: str) -> PortT:
        return under(port, over_handle(port, handles[deployment]))

    def on_lookup(hit: bool) -> None:
        metrics.count("query_embeddings", outcome="hit" if hit else "miss")

    if settings.data.qdrant_url is None:
        passages, replacer = behind(PassageStore, "PassageStore"), behind(CollectionReplacer, "PassageStore")
    else:
        # Here, not above: only this needs the vector store in this process.
        from pipelines.stores.qdrant.passages import QdrantPassageStore

        store = await QdrantPassageStore.open(settings.data.qdrant_url, api_key=settings.data.qdrant_api_key)
        passages, replacer = under(PassageStore, store), under(CollectionReplacer, store)
    embedder = behind(Embedder, "Embedder")
    connected = connect_language_model(settings, handles.get(LANGUAGE_MODEL))
    language_model = under(LanguageModel, connected) if connected is not None else None
    return RemotePorts(
        artifacts=under(KeepsHouse, FsspecArtifactStore(settings.data.artifacts)),
        erasures=ErasureJournal(under(KeepsHouse, FsspecArtifactStore(settings.data.erasures))),
        reader=under(RecordingReader, TaskRecordingReader(settings.data.artifacts, settings.audio.detector)),
        transcriber=behind(Transcriber, "Transcriber"),
        diarizer=behind(Diarizer, "Diarizer"),
        embedder=embedder,
        queries=CachedQueries(embedder, size=settings.search.remembered_questions, on_lookup=on_lookup),
        passages=passages,
        replacer=replacer,
        reranker=behind(Reranker, "Reranker") if "Reranker" in handles else None,
        language_model=language_model,
        chat_relay=under(ChatRelay, connected) if connected is not None else None,
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
        reindexing=ReindexPorts(embedder=ports.embedder, passages=ports.passages, replacer=ports.replacer),
    )
