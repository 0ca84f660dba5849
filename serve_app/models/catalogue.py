"""Models that `rayscribe models pull` knows: where they come from, at which revision, under which licence.

Revisions are commits, so that two machines that pull the same name have the same bytes.
"""

from dataclasses import dataclass
from pathlib import Path

from pipelines.domain.model import ModelRole


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """One model that can be downloaded."""

    name: str
    """Folder below the models folder; what configuration and API call it."""
    role: ModelRole
    backend: str
    """Which engine loads it, as in ``ModelChoice.backend``."""
    repository: str
    """Owner and name on the Hugging Face Hub."""
    revision: str
    """Commit of the repository."""
    bytes: int
    """Approximate download."""
    licence: str
    files: tuple[str, ...]
    """What is downloaded; patterns are allowed."""
    required: tuple[str, ...]
    """What must be there for the engine to load; a folder without them is incomplete."""
    description: str
    native_punctuation: bool = False
    """A recognizer whose text reads well as it is; the small ones of a family leave more to do."""
    gated: bool = False
    """The owner wants terms to be accepted: an account and a token are needed."""


_WHISPER_FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")
_WHISPER_REQUIRED = ("config.json", "model.bin", "tokenizer.json")


def _whisper(
    name: str, repository: str, revision: str, size_bytes: int, description: str, *, native_punctuation: bool = False
) -> CatalogueEntry:
    return CatalogueEntry(
        name=name,
        role="asr",
        backend="faster-whisper",
        repository=repository,
        revision=revision,
        bytes=size_bytes,
        licence="MIT",
        files=_WHISPER_FILES,
        required=_WHISPER_REQUIRED,
        description=description,
        native_punctuation=native_punctuation,
    )


CATALOGUE: tuple[CatalogueEntry, ...] = (
    _whisper(
        "large-v3-turbo",
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        1_621_000_000,
        "Whisper large-v3-turbo, 99 languages: what the gpu profile wants",
        native_punctuation=True,
    ),
    _whisper(
        "small",
        "Systran/faster-whisper-small",
        "536b0662742c02347bc0e980a01041f333bce120",
        486_000_000,
        "Whisper small, 99 languages: the best for a laptop",
        native_punctuation=True,
    ),
    _whisper(
        "base",
        "Systran/faster-whisper-base",
        "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        148_000_000,
        "Whisper base: three times as fast as small, less exact",
    ),
    _whisper(
        "tiny",
        "Systran/faster-whisper-tiny",
        "d90ca5fe260221311c53c58e660288d3deb8d356",
        78_000_000,
        "Whisper tiny: for trying things out",
    ),
    CatalogueEntry(
        name="speaker-diarization-community-1",
        role="diarizer",
        backend="pyannote",
        repository="pyannote/speaker-diarization-community-1",
        revision="3533c8cf8e369892e6b79ff1bf80f7b0286a54ee",
        bytes=31_000_000,
        licence="CC-BY-4.0",
        files=("config.yaml", "segmentation/*", "embedding/*", "plda/*"),
        required=("config.yaml", "segmentation/pytorch_model.bin", "embedding/pytorch_model.bin", "plda/plda.npz"),
        description="pyannote speaker diarization: who speaks when",
        gated=True,
    ),
    CatalogueEntry(
        name="bge-m3",
        role="embedder",
        backend="bge",
        repository="BAAI/bge-m3",
        revision="5617a9f61b028005a4858fdac845db406aefb181",
        bytes=2_293_000_000,
        licence="MIT",
        files=("*.json", "sentencepiece.bpe.model", "pytorch_model.bin", "sparse_linear.pt", "colbert_linear.pt"),
        required=("config.json", "tokenizer.json", "pytorch_model.bin", "sparse_linear.pt", "colbert_linear.pt"),
        description="BGE-M3 embeddings, dense and sparse, 100 languages: search by meaning",
    ),
    CatalogueEntry(
        name="bge-reranker-v2-m3",
        role="reranker",
        backend="bge-reranker",
        repository="BAAI/bge-reranker-v2-m3",
        revision="953dc6f6f85a1b2dbfca4c34a2796e7dde08d41e",
        bytes=2_293_000_000,
        licence="Apache-2.0",
        files=("*.json", "sentencepiece.bpe.model", "model.safetensors"),
        required=("config.json", "tokenizer.json", "model.safetensors"),
        description="Reranker: puts the best of the found passages first",
    ),
)


def find(name: str) -> CatalogueEntry | None:
    """Return the entry of this name, or of this repository on the hub; None where there is none."""
    return next((entry for entry in CATALOGUE if name in (entry.name, entry.repository)), None)


def missing_files(entry: CatalogueEntry, folder: Path) -> tuple[str, ...]:
    """Return which required files a folder lacks: all of them where it does not exist."""
    return tuple(name for name in entry.required if not (folder / name).is_file())


def folder_bytes(folder: Path) -> int:
    """Return how much a folder holds; 0 where it does not exist."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
