"""What answering a question needs: ports, and the numbers that bound it."""

from dataclasses import dataclass, field

from pipelines.domain.answer import SamplingOptions
from pipelines.domain.model import LanguageModelInfo
from pipelines.ports.language import LanguageModel
from pipelines.ports.models import Embedder, Reranker
from pipelines.ports.passages import PassageStore

MAX_MESSAGES = 100
"""Of a conversation, the question among them."""
MAX_MESSAGE_CHARACTERS = 20_000
"""Of one message; the question is one."""
MAX_QUERY_CHARACTERS = MAX_MESSAGE_CHARACTERS
"""Of what is looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """Bounds of an answer; the thresholds were set with ``bench/bench_retrieval.py``."""

    similar: float = 0.35
    """Cosine from which a passage counts as evidence, unless the embedder says so in ``similar``."""
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


TURN_TOKENS = 8
"""What a chat template puts around a message, at most, in the models this was tried with."""


def context_length(info: LanguageModelInfo, options: ChatOptions) -> int:
    """Return how many tokens prompt and answer may have together."""
    return info.context_tokens or options.context_tokens
