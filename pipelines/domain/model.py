"""What model really ran: the provenance that stands in health, in the model list and in every job's ``versions``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum
from typing import Literal

from pipelines.domain.audio import PieceCut

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


class Urgency(IntEnum):
    """Who goes first in a model's one batch; the smaller, the sooner."""

    LIVE_END = 0
    """Somebody has stopped speaking, and waits for the final text."""
    LIVE = 1
    """Somebody is speaking: text that may still change."""
    WAITING = 2
    """A request whose client waits for the answer."""
    BULK = 3
    """Work of a job, for which nobody waits."""


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
    batch_size: int | None = None
    """How many windows, texts or pairs one batch takes now; halved where memory was short."""

    @property
    def details(self) -> dict[str, object]:
        """What is known of this role's models alone, and is: JSON-able, for showing."""
        own = {name.name for name in fields(self)} - {name.name for name in fields(ModelInfo)}
        found = {name: getattr(self, name) for name in (*sorted(own), "batch_size")}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class AsrInfo(ModelInfo):
    """A speech recognizer."""

    role: Literal["asr"] = "asr"
    max_window_s: float | None = None
    """The longest window that it was trained on; None: as long as windows get."""
    decoding: Mapping[str, object] = field(default_factory=dict)
    """Its defaults, as ``versions`` names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiarizerInfo(ModelInfo):
    """A diarization pipeline."""

    role: Literal["diarizer"] = "diarizer"
    segmentation: str | None = None
    """What finds speech and changes of speaker."""
    clustering: str | None = None
    pieces: PieceCut | None = None
    """How it takes a long recording in pieces, on any of its replicas; None: only as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderInfo(ModelInfo):
    """An embedding model."""

    role: Literal["embedder"] = "embedder"
    vector_size: int
    """Length of ``dense``."""
    max_tokens: int | None = None
    """What is longer is cut."""
    sparse_idf: bool = False
    """Whether the store must weigh words by how rare they are: the model's own weights do not."""
    similar: float | None = None
    """Cosine from which two texts are about the same, for this model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerInfo(ModelInfo):
    """A cross-encoder."""

    role: Literal["reranker"] = "reranker"
    max_tokens: int | None = None
    """What is longer is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModelInfo(ModelInfo):
    """A language model, or what stands in for one."""

    role: Literal["llm"] = "llm"
    context_tokens: int | None = None
    """How many tokens prompt and answer may have together."""
    quantization: str | None = None
    chat_template: str | None = None
    """``sha256:`` of the template."""
    thinking: bool | None = None
    reasoning_parser: str | None = None
    structured_output_backend: str | None = None
    generation_config: Mapping[str, object] | None = None
    """Decoding defaults that come with the model."""
    known_defaults: bool = True
    """Whether it is known what is drawn with where a request says nothing."""
    embedder: str | None = None
    """Of the extractive stand-in: what it compares sentences by."""


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
        "decoding": dict(model.decoding) if isinstance(model, AsrInfo) else {},
        "fallback": asdict(model.fallback) if model.fallback else None,
    }
