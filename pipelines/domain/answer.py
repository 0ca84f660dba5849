"""Messages to a language model, what it answers, and answers with citations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
    usage: TokenUsage
    sampling: Mapping[str, object] = field(default_factory=dict)
    """The values that were really used, all levels resolved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionChunk:
    """A piece of an answer under way; the last one has a finish reason and usage, and may have no text."""

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
