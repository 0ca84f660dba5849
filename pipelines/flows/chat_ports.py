"""What answering a question needs: ports, and numbers that bound it."""

from dataclasses import dataclass, field

from pipelines.domain.answer import SamplingOptions
from pipelines.passage_ports import PassageStore
from pipelines.ports import Embedder, LanguageModel, Reranker


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """Bounds of an answer; the thresholds were set with ``bench/bench_retrieval.py``."""

    similar: float = 0.35
    """Cosine from which a passage counts as evidence, unless the embedder says so in ``details["similar"]``."""
    relevant: float = 0.1
    """A reranker's score from which a passage counts as evidence."""
    answer_tokens: int = 512
    """Most tokens of an answer, where request and profile say nothing; never more than a third of the context."""
    context_tokens: int = 4096
    """Assumed where the model does not say."""
    rewrite_timeout_s: float = 10.0
    first_token_timeout_s: float = 35.0
    """Above what the language model's own policy allows for it: that decides, this is the last resort."""
    extractive_sentences: int = 3
    extractive_candidates: int = 60
    extractive_within: float = 0.15
    """How much worse than the best sentence a second one may be."""
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    """The profile's: what the request leaves open; what this leaves open, the model's generation config says."""
    temperature: float = 0.2
    """Where none of these says one: an answer keeps to its passages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatPorts:
    """Ports of one answer."""

    embedder: Embedder
    passages: PassageStore
    reranker: Reranker | None = None
    language_model: LanguageModel | None = None
    """None: answers are made of the recordings' own sentences, and marked degraded."""
    options: ChatOptions = field(default_factory=ChatOptions)
    """The deployment's bounds, for requests and jobs alike."""
