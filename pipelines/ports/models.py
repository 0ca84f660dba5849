"""Models that hear, compare and judge."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from pipelines.domain.audio import RecordingPiece, Window
from pipelines.domain.model import AsrInfo, DiarizerInfo, EmbedderInfo, RerankerInfo
from pipelines.domain.passage import Embedding
from pipelines.domain.speakers import Diarization, DiarizationOptions
from pipelines.domain.transcript import LanguageGuess, TranscriptionOptions, WindowTranscript

AnswerT = TypeVar("AnswerT")


class CallModel(Protocol):
    """How a flow calls a model. Inside a job: when it is the job's turn, and until the model is there."""

    async def __call__(self, call: Callable[[], Awaitable[AnswerT]], /) -> AnswerT:
        """Return what ``call`` returns, which may be called several times. Raises what it raises in the end."""
        ...


async def call_at_once(call: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
    """Implements CallModel for whoever waits for the answer: what is busy or away is an error."""
    return await call()


class Transcriber(Protocol):
    """Speech to text, one window a call; windows of all callers meet in one batch inside."""

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        """Decode one window; a result that looks wrong is decoded again alone with temperature fallback.

        Silence gives no segments. ``options.language`` None means: detect for this window. Raises ModelUnavailable,
        ModelOutOfMemory, InvalidRequest (a language the model does not know).
        """
        ...

    async def detect_language(self, window: Window) -> LanguageGuess:
        """Guess the spoken language of one window; an English-only model always answers ``en`` with 1.0."""
        ...

    async def info(self) -> AsrInfo:
        """Say what is loaded."""
        ...


class Diarizer(Protocol):
    """Who speaks when."""

    async def diarize(self, samples: object, options: DiarizationOptions) -> Diarization:
        """Diarize a whole recording (int16 mono 16 kHz, or the reader's reference to it).

        Silence gives no turns. Raises InvalidRequest (min_speakers > max_speakers), ModelUnavailable.
        """
        ...

    async def hear(self, samples: object, piece: RecordingPiece) -> bytes:
        """Return what can be found out from one piece alone, for ``tell_apart``; ``samples`` are the piece's.

        Pieces are cut as ``info().pieces`` says, and any replica hears any of them. Raises NotAvailable where that is
        None, ModelUnavailable.
        """
        ...

    async def tell_apart(self, heard: Sequence[bytes], options: DiarizationOptions) -> Diarization:
        """Return who speaks when in a recording whose pieces were heard, all of them, in order.

        What ``diarize`` returns of the same recording differs at the borders of the pieces at most. Raises
        NotAvailable, InvalidRequest as ``diarize`` does, ModelError (pieces that another model has heard),
        ModelUnavailable.
        """
        ...

    async def info(self) -> DiarizerInfo:
        """Say what is loaded."""
        ...


class Embedder(Protocol):
    """Text to vectors, dense and sparse. The two verbs differ because many models are told which side they embed."""

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        """Embed texts to be found, in order; an empty sequence gives an empty tuple."""
        ...

    async def embed_query(self, text: str) -> Embedding:
        """Embed a question."""
        ...

    async def info(self) -> EmbedderInfo:
        """Say what is loaded."""
        ...


class Reranker(Protocol):
    """Judges passages against a query, one by one and better than vectors can."""

    async def rerank(self, query: str, texts: Sequence[str]) -> tuple[float, ...]:
        """Return one score a text, 0–1, higher is more relevant, in the order of ``texts``."""
        ...

    async def info(self) -> RerankerInfo:
        """Say what is loaded."""
        ...
