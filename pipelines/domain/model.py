"""What model really ran: the provenance that stands in health, in the model list and in every job's ``versions``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

ModelRole = Literal["asr", "diarizer", "embedder", "reranker", "llm"]
DegradedStage = Literal["transcribe", "diarize", "enhance", "understand", "index", "answer"]
"""The contract's stages in which something else than what was wanted may be used."""
ROLE_STAGES: Mapping[ModelRole, DegradedStage] = {
    "asr": "transcribe",
    "diarizer": "diarize",
    "embedder": "index",
    "reranker": "answer",
    "llm": "understand",
}
"""The stage that a model of each role works in, for what is said of the model itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Degradation:
    """Something else than what was wanted was used."""

    stage: DegradedStage
    wanted: str
    used: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One loaded model."""

    role: ModelRole
    backend: str
    """``faster-whisper``, ``pyannote``, ``flag-embedding``, ``vllm``, ``extractive``, …"""
    name: str
    """``large-v3-turbo``, ``demo-asr``, ``bge-m3``, …"""
    variant: str | None = None
    """Size or quantization where one name has several."""
    path: str | None = None
    """Folder on disk; shown to operators only, never in a job."""
    description: str = ""
    checkpoint_hash: str | None = None
    """``sha256:`` over the sorted (relative path, sha256) list of the folder's files."""
    compute_type: str | None = None
    device: str = "cpu"
    capabilities: tuple[str, ...] = ()
    """``word_timestamps``, ``language_detection``, ``translation``, ``native_punctuation``, ``dense``, ``sparse``,
    ``structured_output``, …"""
    languages: tuple[str, ...] = ()
    """Empty: many."""
    memory_bytes: int | None = None
    demo: bool = False
    """True for the small models that ship with the project: real architectures, toy quality."""
    fallback: Degradation | None = None
    """Set when this is not the first model of its chain."""
    details: Mapping[str, object] = field(default_factory=dict)
    """Further JSON-able facts: vector size, decoding defaults, chat template, …"""


def describe_model(model: ModelInfo) -> dict[str, object]:
    """Return what ``versions`` says about a model: enough to run it again, and no path."""
    return {
        "backend": model.backend,
        "model": model.name,
        "variant": model.variant,
        "checkpoint_hash": model.checkpoint_hash,
        "compute_type": model.compute_type,
        "device": model.device,
        "demo": model.demo,
        "decoding": model.details.get("decoding", {}),
        "fallback": asdict(model.fallback) if model.fallback else None,
    }
