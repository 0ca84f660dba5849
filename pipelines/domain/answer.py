"""Messages to a language model, what it answers, and answers with citations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipelines.domain.model import Degradation
from pipelines.domain.passage import Hit, Passage, SearchFilters, SearchMode

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation with a language model."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How tokens are drawn; None: ask the next level (profile, the model's generation_config.json, the library)."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens in and out."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One whole answer."""

    text: str
    finish_reason: FinishReason
    usage: TokenUsage | None
    """None: the endpoint does not tell."""
    sampling: Mapping[str, object] = field(default_factory=dict)
    """The values that were really used, all levels resolved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionChunk:
    """A piece of an answer; the last one has a finish reason, usage where that is known, and may have no text."""

    text: str
    finish_reason: FinishReason | None = None
    usage: TokenUsage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A checked pointer into a recording: the passage was retrieved, and ``quote`` occurs in it."""

    n: int
    job_id: str
    collection: str
    passage_id: str
    recording: str
    start_s: float
    end_s: float
    speaker: str | None
    quote: str
    revision: int = 1
    """Of the transcript that is quoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A conversation whose last message asks about the recordings of some collections."""

    messages: tuple[Message, ...]
    """The last one is the user's; earlier ones say what ``it`` and ``they`` mean."""
    collections: tuple[str, ...]
    mode: SearchMode = "hybrid"
    top_k: int = 8
    """Passages to answer from, at most; fewer go into the prompt where they do not fit."""
    filters: SearchFilters = field(default_factory=SearchFilters)
    rerank: bool | None = None
    """None: where this deployment has a reranker."""
    sampling: SamplingOptions = SamplingOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A passage that the answer may cite, with those around it. ``n`` counts from 1 in order of rank."""

    n: int
    hit: Hit

    @property
    def passages(self) -> tuple[Passage, ...]:
        """The passage that was found, and the one before and after it where they are known, in order of time."""
        around = (self.hit.before, self.hit.passage, self.hit.after)
        return tuple(passage for passage in around if passage is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesEvent:
    """First: what the answer will rest on; empty where nothing relevant was found."""

    sources: tuple[Source, ...]
    question: str
    """The question as it was looked up: a follow-up made to stand alone."""
    type: Literal["sources"] = "sources"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaEvent:
    """The next piece of the answer; ``[1]`` in it points at the citation of that number."""

    text: str
    type: Literal["delta"] = "delta"


@dataclass(frozen=True, slots=True, kw_only=True)
class CitationsEvent:
    """All citations that the answer's text points at, numbered from 1 as they appear."""

    citations: tuple[Citation, ...]
    removed: int = 0
    """Citations that named no retrieved passage, or words that are not in it: taken out of the text."""
    type: Literal["citations"] = "citations"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneEvent:
    """Last, when all went well."""

    finish_reason: FinishReason
    usage: TokenUsage | None
    """Of all model calls for this answer; None without a language model."""
    grounded: bool
    """The answer has at least one checked citation."""
    versions: Mapping[str, object] = field(default_factory=dict)
    degraded: tuple[Degradation, ...] = ()
    type: Literal["done"] = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvent:
    """Last, when something broke after the first event."""

    code: str
    message: str
    retryable: bool
    type: Literal["error"] = "error"


ChatEvent = SourcesEvent | DeltaEvent | CitationsEvent | DoneEvent | ErrorEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer: what a client that does not stream gets, and what a background job stores."""

    text: str
    question: str
    citations: tuple[Citation, ...]
    removed_citations: int
    sources: tuple[Source, ...]
    finish_reason: FinishReason
    usage: TokenUsage | None
    grounded: bool
    versions: Mapping[str, object] = field(default_factory=dict)
    degraded: tuple[Degradation, ...] = ()
