"""What writes text, and what stands in for it."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from pipelines.domain.answer import Completion, CompletionChunk, Message, SamplingOptions
from pipelines.domain.job import JobRequest
from pipelines.domain.model import AsrInfo, LanguageModelInfo
from pipelines.domain.template import Template
from pipelines.domain.transcript import Transcript
from pipelines.domain.understanding import EnhancementReport, Extraction, UnderstandingReport


class LanguageModel(Protocol):
    """Text to text, constrained by a schema where one is given."""

    async def generate(
        self, messages: Sequence[Message], *, sampling: SamplingOptions, schema: Mapping[str, object] | None = None
    ) -> Completion:
        """Generate one answer. With ``schema`` (JSON Schema) the text is guided to fit it; callers still validate.

        Raises ModelUnavailable, DeadlineExceeded, GenerationTruncated (the token limit was hit inside guided JSON),
        InvalidRequest (the messages exceed the context).
        """
        ...

    def stream(
        self, messages: Sequence[Message], *, sampling: SamplingOptions
    ) -> AsyncGenerator[CompletionChunk, None]:
        """Yield text as it is generated; the last chunk carries usage and finish reason. Closing stops generation."""
        ...

    async def count_tokens(self, texts: Sequence[str]) -> tuple[int, ...]:
        """Count each text's tokens as this model's tokenizer does, or estimate from above where it cannot be asked.

        A text that it refuses to count, because it is longer than its context, has more tokens than that.
        """
        ...

    async def info(self) -> LanguageModelInfo:
        """Say what is loaded."""
        ...


class ChatRelay(Protocol):
    """Takes OpenAI's chat requests as they come, with tools, formats and whatever else only the engine understands."""

    async def relay(self, body: Mapping[str, object]) -> Mapping[str, object]:
        """Return the engine's own answer (a ``chat.completion``) to a request that is not streamed.

        Its ``model`` is the engine's, whatever the body says. Raises ModelUnavailable, DeadlineExceeded, Overloaded,
        and InvalidRequest for what the engine does not take.
        """
        ...

    def relay_stream(self, body: Mapping[str, object]) -> AsyncGenerator[Mapping[str, object], None]:
        """Yield the engine's own chunks, to the last one; closing stops generation. Raises as ``relay`` does."""
        ...


class TranscriptAnalyst(Protocol):
    """Answers a template from the transcript alone: what stands in where no language model can be had."""

    async def fill(self, template: Template, transcript: Transcript, parameters: Mapping[str, object]) -> Extraction:
        """Return an answer that always fits the template's schema; an empty transcript gives the emptiest one.

        What could not be compared by meaning is compared by words, and the extraction says why.

        ``parameters`` are the request's (``labels``, ``target_language``). Raises ModelUnavailable for a template that
        cannot be answered without a model.
        """
        ...

    async def info(self) -> LanguageModelInfo:
        """Say what it is; the result of every use is marked degraded by the caller."""
        ...


class Understanding(Protocol):
    """The language stages. Both read the attributed transcript, so that they run at the same time."""

    async def enhance(self, transcript: Transcript, request: JobRequest, asr: AsrInfo) -> EnhancementReport:
        """Make the transcript readable; ``asr`` says whether it already punctuates."""
        ...

    async def understand(self, transcript: Transcript, request: JobRequest) -> UnderstandingReport:
        """Give what the text features ask for."""
        ...
