"""Passages of transcripts, their vectors, and what a search brings back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipelines.domain.model import Degradation

SearchMode = Literal["hybrid", "dense", "sparse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSpan:
    """Characters ``start`` (inclusive) to ``end`` (exclusive) of a text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenSpan:
    """Who says which characters of a passage's text, and when: what lets a quote play from its first word."""

    start: int
    """Offset of the first character."""
    end: int
    """Offset after the last character."""
    start_s: float
    end_s: float
    speaker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A stretch of a transcript that is found, cited and played as one."""

    passage_id: str
    """Deterministic: UUIDv5 of tenant, collection, job and position, so that indexing twice changes nothing."""
    job_id: str
    recording: str
    """The file name as the client gave it."""
    position: int
    """0-based order within the job; neighbours are position ± 1."""
    start_s: float
    end_s: float
    speakers: tuple[str, ...]
    language: str
    text: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The job's own metadata, for filters."""
    spans: tuple[SpokenSpan, ...] = ()
    """Sorted, never overlapping, covering every word of ``text``; empty where only the passage as a whole has times."""
    revision: int = 1
    """Of the transcript that it was cut from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseVector:
    """Token ids and weights, sorted by id, no id twice."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """Both halves of hybrid search for one text. ``dense`` has unit length."""

    dense: tuple[float, ...]
    sparse: SparseVector


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFilters:
    """All given conditions must hold; values within one are alternatives."""

    job_ids: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    start_s: float | None = None
    """Only passages that end after this moment of the recording."""
    end_s: float | None = None
    """Only passages that start before this moment of the recording."""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageScores:
    """A score per stage, so that a ranking can be explained; None where the stage did not see the passage."""

    dense: float | None = None
    sparse: float | None = None
    rerank: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One found passage; ``score`` is what the list is sorted by."""

    passage: Passage
    collection: str
    score: float
    scores: StageScores
    highlights: tuple[TextSpan, ...] = ()
    """Where the query's words stand in the passage's text; sorted, never overlapping. Filled on demand."""
    before: Passage | None = None
    """The passage before this one in the same job. Filled on demand."""
    after: Passage | None = None
    """The passage after this one in the same job. Filled on demand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What to look for, where, and how much to say about what is found."""

    query: str
    collections: tuple[str, ...]
    """All of one tenant; their hits are ranked together."""
    mode: SearchMode = "hybrid"
    top_k: int = 10
    filters: SearchFilters = SearchFilters()
    rerank: bool = False
    neighbours: bool = False
    """Fill ``Hit.before`` and ``Hit.after``."""
    highlight: bool = False
    """Fill ``Hit.highlights``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What was found, best first, and what could not be done as asked."""

    hits: tuple[Hit, ...]
    mode: SearchMode
    degraded: tuple[Degradation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionInfo:
    """A tenant's collection as its owner sees it."""

    name: str
    passages: int
    embedder: str
    """``name`` of the embedding model whose vectors it holds."""
    embedder_hash: str
    vector_size: int
    languages: tuple[str, ...] = ()
    damaged: bool = False
    """Its files cannot be read: how many passages it has is not known, and searches of it fail."""
