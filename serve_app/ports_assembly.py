"""Handles to ports: what the ingress and the runner both hold."""

from dataclasses import dataclass
from typing import Any

from pipelines.ports import LanguageModel
from serve_app.remote_passages import RemotePassageStore
from serve_app.remote_ports import (
    RemoteDiarizer,
    RemoteEmbedder,
    RemoteRecordingReader,
    RemoteReranker,
    RemoteTranscriber,
)
from serve_app.resilience import Guard
from serve_app.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePorts:
    """Every port that is served by another process."""

    reader: RemoteRecordingReader
    transcriber: RemoteTranscriber
    diarizer: RemoteDiarizer
    embedder: RemoteEmbedder
    passages: RemotePassageStore
    reranker: RemoteReranker | None
    language_model: LanguageModel | None


def assemble_ports(handles: dict[str, Any], settings: Settings, guard: Guard) -> RemotePorts:
    """Wrap handles (deployment name → handle) into ports under the policies of ``settings``."""
    policy = settings.resilience.model
    reranker = handles.get("Reranker")
    return RemotePorts(
        reader=RemoteRecordingReader(settings.data.artifacts, settings.audio.detector),
        transcriber=RemoteTranscriber(handles["Transcriber"], "transcriber", guard, policy),
        diarizer=RemoteDiarizer(handles["Diarizer"], "diarizer", guard, policy),
        embedder=RemoteEmbedder(handles["Embedder"], "embedder", guard, policy),
        passages=RemotePassageStore(handles["PassageStore"], guard, settings.resilience),
        reranker=RemoteReranker(reranker, "reranker", guard, policy) if reranker is not None else None,
        language_model=None,
    )
