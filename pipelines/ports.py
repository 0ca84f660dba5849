"""What flows need from the world, as narrow protocols that state the obligations of whoever implements them.

Implementations: ``engines/`` and ``stores/`` (in process), ``serve_app/remote_ports.py`` (through Ray Serve handles)
and ``fakes/`` (deterministic). One contract suite a port, in ``tests/contracts/``, runs over all of them.

Common obligations: methods are coroutines and never block the event loop (an engine offloads to a thread); errors of
foreign libraries are translated, at the adapter, into the tree of ``errors.py``; arguments are never modified; calls
may be made concurrently unless said otherwise, and cancelling one leaves nothing behind.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from pipelines.domain.answer import Completion, CompletionChunk, Message, SamplingOptions
from pipelines.domain.audio import AudioExtent, Recording, TimeSpan, Window, WindowingOptions
from pipelines.domain.job import (
    Job,
    JobEvent,
    JobFilters,
    JobPage,
    NewJob,
    QueueDepth,
    Upload,
)
from pipelines.domain.model import ModelInfo
from pipelines.domain.passage import Embedding
from pipelines.domain.template import Template
from pipelines.domain.transcript import (
    Diarization,
    DiarizationOptions,
    LanguageGuess,
    Transcript,
    TranscriptionOptions,
    WindowTranscript,
)
from pipelines.samples import Samples


class AudioDecoder(Protocol):
    """Turns any container into samples. Synchronous: it runs in a Ray task or a thread, never on an event loop."""

    def probe(self, source: BinaryIO, upload: Upload) -> Recording:
        """Read the container's headers only.

        Raises UnsupportedMedia (no audio stream, not a container), AudioDamaged (headers that cannot be: 0 Hz).
        """
        ...

    def decode(self, source: BinaryIO, *, max_duration_s: float) -> "SamplesIterator":
        """Yield mono int16 blocks at 16 kHz of at most a few seconds each, in order, without gaps.

        Memory does not grow with the recording. Stereo is mixed down. What is damaged is skipped, with a warning; holes
        in the container's time are filled with silence. Raises UnsupportedMedia before the first block, AudioDamaged
        where nothing can be decoded, TooLarge once more than ``max_duration_s`` has been decoded.
        """
        ...


class SamplesIterator(Protocol):
    """An iterator of sample blocks that owns decoder state, which ``close`` releases."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong but did not stop decoding (a missing end, damaged places); complete once exhausted."""
        ...

    def __iter__(self) -> "SamplesIterator": ...
    def __next__(self) -> Samples: ...
    def close(self) -> None:
        """Release what the decoder holds; a no-op when exhausted or closed before."""
        ...


class SpeechDetector(Protocol):
    """Finds speech in a stream of samples. Synchronous, cheap, on CPU; one instance serves one recording."""

    def push(self, block: Samples) -> Sequence[TimeSpan]:
        """Take the next samples (any number) and return the speech spans that are certain to have ended, padded.

        Spans are in seconds from the first sample pushed, sorted, and never overlap or change once returned. Speech
        that goes on for more than MAX_SPEECH_PIECE_S is returned in pieces that abut; other spans never do.
        """
        ...

    def finish(self) -> Sequence[TimeSpan]:
        """No more samples will come: return the last span, if speech was under way. The instance is spent."""
        ...


class RecordingReader(Protocol):
    """Reads a stored recording: decoding, speech detection and cutting, wherever that CPU work is done."""

    async def probe(self, upload: Upload) -> Recording:
        """Read the headers of the artifact ``upload.artifact``; raises as AudioDecoder.probe does."""
        ...

    def windows(
        self, artifact: str, options: WindowingOptions, *, first_index: int = 0
    ) -> AsyncGenerator[Window | AudioExtent, None]:
        """Yield the recording's windows in order while it is still being decoded, then one AudioExtent, and end.

        The cut depends on the audio and the options alone: a second read yields the same windows. Windows before
        ``first_index`` are skipped (cut, but not yielded). The producer waits when the consumer is slow (bounded
        memory), and stops when the generator is closed. Raises as AudioDecoder.decode does.
        """
        ...

    async def samples(self, artifact: str, *, max_duration_s: float) -> object:
        """Return the whole recording as one int16 array, or an opaque reference that the Diarizer resolves."""
        ...


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

    async def info(self) -> ModelInfo:
        """Say what is loaded; ``details["batch_size"]`` is how many windows one batch takes.

        ``details["max_window_s"]``, where present, is the longest window that the model was trained on.
        """
        ...


class Diarizer(Protocol):
    """Who speaks when."""

    async def diarize(self, samples: object, options: DiarizationOptions) -> Diarization:
        """Diarize a whole recording (int16 mono 16 kHz, or the reader's reference to it).

        Silence gives no turns. Raises InvalidRequest (min_speakers > max_speakers), ModelUnavailable.
        """
        ...

    async def info(self) -> ModelInfo:
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

    async def info(self) -> ModelInfo:
        """Say what is loaded; ``details["vector_size"]`` is the length of ``dense``."""
        ...


class Reranker(Protocol):
    """Judges passages against a query, one by one and better than vectors can."""

    async def rerank(self, query: str, texts: Sequence[str]) -> tuple[float, ...]:
        """Return one score a text, 0–1, higher is more relevant, in the order of ``texts``."""
        ...

    async def info(self) -> ModelInfo:
        """Say what is loaded."""
        ...


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

    async def count_tokens(self, text: str) -> int:
        """Count tokens as this model's tokenizer does, or estimate from above where it cannot be asked."""
        ...

    async def info(self) -> ModelInfo:
        """Say what is loaded; ``details["context_tokens"]`` is the context length."""
        ...


class TranscriptAnalyst(Protocol):
    """Answers a template from the transcript alone: what stands in where no language model can be had."""

    async def fill(
        self, template: Template, transcript: Transcript, parameters: Mapping[str, object]
    ) -> Mapping[str, object]:
        """Return an answer that always fits the template's schema; an empty transcript gives the emptiest one.

        ``parameters`` are the request's (``labels``, ``target_language``). Raises ModelUnavailable for a template that
        cannot be answered without a model.
        """
        ...

    async def info(self) -> ModelInfo:
        """Say what it is; the result of every use is marked degraded by the caller."""
        ...


class ArtifactStore(Protocol):
    """Bytes under keys of the form ``tenant/job/name``. Raises ArtifactStoreUnavailable throughout.

    A write becomes visible whole or not at all; writing a key again replaces it.
    """

    async def write_stream(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        """Store chunks as they arrive in bounded memory; return the byte count. If ``chunks`` raises, nothing stays."""
        ...

    async def write(self, key: str, data: bytes) -> None:
        """Store ``data``."""
        ...

    async def read(self, key: str) -> bytes:
        """Return the bytes. Raises ArtifactNotFound."""
        ...

    def read_range(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes ``start`` (inclusive) to ``end`` (exclusive) in chunks. Raises ArtifactNotFound at the first."""
        ...

    async def size(self, key: str) -> int | None:
        """Return the size in bytes; None where the key does not exist."""
        ...

    async def list_keys(self, prefix: str) -> tuple[str, ...]:
        """Return all keys below ``prefix`` (a folder), sorted."""
        ...

    async def delete_tree(self, prefix: str) -> None:
        """Remove all keys below ``prefix``; a no-op where there are none."""
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open for synchronous, seekable reading inside a thread or task. Raises ArtifactNotFound."""
        ...


class StepRunner(Protocol):
    """Gives a flow durability: a step whose return value was recorded is never run again for the same job."""

    async def step(self, name: str, body: Callable[[], Awaitable[Mapping[str, object]]]) -> Mapping[str, object]:
        """Run ``body`` unless a result is recorded under ``name``; record and return its (JSON-able) result.

        Steps must be started in the same order on every run. Cancelling the job cancels the body.
        """
        ...

    async def emit(self, event_type: str, data: Mapping[str, object]) -> None:
        """Append to the job's durable event stream. May repeat after a recovery."""
        ...


class JobQueue(Protocol):
    """Durable jobs, as clients see them. Needs no runner: status stays readable while none is alive.

    Raises JobStoreUnavailable throughout. Another tenant's job does not exist (NotFound).
    """

    async def enqueue(self, job: NewJob) -> Job:
        """Acknowledge a job: once this returns, the job survives the death of every process.

        The same job id with the same body hash returns the job as it is; with another, raises IdempotencyConflict.
        """
        ...

    async def get(self, tenant: str, job_id: str) -> Job:
        """Return where the job stands. Raises NotFound."""
        ...

    async def list_jobs(self, tenant: str, filters: JobFilters, *, cursor: str | None, limit: int) -> JobPage:
        """List jobs, newest first. Raises InvalidRequest for a cursor that this method did not make."""
        ...

    async def cancel(self, tenant: str, job_id: str) -> Job:
        """Stop a job. Raises NotFound, JobEnded."""
        ...

    async def settle(self, tenant: str, job_id: str) -> None:
        """Return once nothing works on a cancelled job any more, or its runner has had 10 s. Raises NotFound."""
        ...

    async def retry(self, tenant: str, job_id: str) -> Job:
        """Let a failed job go on from its last finished stage, under the same id.

        Raises NotFound, JobNotFailed, and Conflict for a reindexing while another job is moving the same collection.
        """
        ...

    async def erase(self, tenant: str, job_id: str) -> None:
        """Remove the job's record and events (its artifacts and passages are the caller's). Raises NotFound."""
        ...

    def events(self, tenant: str, job_id: str, *, after: int = -1) -> AsyncGenerator[JobEvent, None]:
        """Yield all events with an id above ``after``, then new ones as they happen; end after a terminal one.

        Raises NotFound before the first event.
        """
        ...

    async def depth(self, tenant: str) -> QueueDepth:
        """Return how many jobs wait."""
        ...
