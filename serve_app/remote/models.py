"""The ports over Serve handles and Ray tasks: what a flow holds instead of an engine.

Every call goes through the policy table of ``resilience.py``.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import ray
from ray.exceptions import RayError, RayTaskError, WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.domain.audio import AudioExtent, Recording, Window, WindowingOptions
from pipelines.domain.job import Upload
from pipelines.domain.model import ModelInfo
from pipelines.domain.passage import Embedding
from pipelines.domain.speakers import Diarization, DiarizationOptions
from pipelines.domain.transcript import LanguageGuess, TranscriptionOptions, WindowTranscript
from pipelines.errors import AudioDamaged, DependencyError, ModelUnavailable
from serve_app.remote import recording_tasks
from serve_app.remote.calls import call, raise_translated
from serve_app.resilience import Guard, StreamLimits
from serve_app.settings import Policy

_INFO = Policy(timeout_s=10.0, retries=0)
"""Health and model lists ask every deployment: one that is still loading is said to be, not waited for."""
_DECODING_S_PER_AUDIO_S = 10.0
"""A window may take ten times its length in a full queue on a slow CPU before the call is given up."""
_READING_S_PER_AUDIO_S = 0.1
"""Reading is 175 times faster than speech; ten times faster is a machine that is busy with everything else."""
_INTERRUPTION_S = 5.0
"""How long a task may take to notice that it was interrupted."""


class RemoteRecordingReader:
    """Implements RecordingReader with Ray tasks: decoding a stranger's file never happens in a process that serves.

    Whoever leaves a call ends its task. A recording of which the process that reads it dies, each time that Ray tries,
    is damaged: no retry helps.
    """

    def __init__(self, artifacts: str, detector: str, guard: Guard, policy: Policy) -> None:
        """Take the artifact store's URL, which the tasks open themselves, and the speech detector's name."""
        self._artifacts = artifacts
        self._detector = detector
        self._guard = guard
        self._policy = policy

    async def probe(self, upload: Upload) -> Recording:
        """Read the headers in a task on this node, where an upload into a folder has just been written."""

        async def attempt() -> Any:
            node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
            task = recording_tasks.probe_recording.options(scheduling_strategy=node)
            return await _result_of(task.remote(self._artifacts, upload))

        recording: Recording = await self._guard.call("reader", self._policy, attempt)
        return recording

    def windows(
        self, artifact: str, options: WindowingOptions, *, first_index: int = 0
    ) -> AsyncGenerator[Window | AudioExtent, None]:
        """Yield windows whose samples are object references; the task waits while more than a few are unread."""
        limit_s = self._policy.timeout_s + _READING_S_PER_AUDIO_S * options.max_duration_s
        return self._guard.stream(
            "reader",
            self._policy,
            lambda: self._read(artifact, options, first_index),
            StreamLimits(first_s=limit_s, silence_s=limit_s, total_s=limit_s),
        )

    async def _read(
        self, artifact: str, options: WindowingOptions, first_index: int
    ) -> AsyncGenerator[Window | AudioExtent, None]:
        produced = recording_tasks.speech_windows.remote(
            self._artifacts, artifact, options, first_index, self._detector
        )
        try:
            async for reference in produced:
                item = await reference
                if isinstance(item, Window):
                    item = replace(item, samples=await anext(produced))
                yield item
        except RayError as error:
            _raise_reading_error(error)
        except (asyncio.CancelledError, GeneratorExit):
            _end_task(produced)
            raise

    async def samples(self, artifact: str, *, max_duration_s: float) -> object:
        """Return a reference to the whole recording, once it is there."""

        async def attempt() -> Any:
            task: Any = recording_tasks.whole_recording  # Ray's stubs know no task of two results
            samples, count = task.remote(self._artifacts, artifact, max_duration_s)
            await _result_of(count)
            return samples

        limit_s = _READING_S_PER_AUDIO_S * max_duration_s
        return await self._guard.call("reader", self._policy, attempt, extra_timeout_s=limit_s)


async def _result_of(task: Any) -> Any:
    try:
        return await task
    except RayError as error:
        _raise_reading_error(error)
    except asyncio.CancelledError:
        _end_task(task)
        raise


def _end_task(task: Any) -> None:
    """Interrupt a task that nobody waits for; one that does not hear it, in a call that hangs, loses its process."""
    ray.cancel(task)
    asyncio.get_running_loop().call_later(_INTERRUPTION_S, _kill_task, task)


def _kill_task(task: Any) -> None:
    if ray.is_initialized():
        ray.cancel(task, force=True)


def _raise_reading_error(error: RayError) -> NoReturn:
    if isinstance(error, RayTaskError):
        raise_translated(error)
    if isinstance(error, WorkerCrashedError):
        raise AudioDamaged("this recording cannot be decoded: the decoder crashes") from error
    raise DependencyError("recordings cannot be read at the moment") from error


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """What all model ports share: a handle, its name for health, and its policy."""

    handle: Any
    dependency: str
    guard: Guard
    policy: Policy

    async def info(self) -> ModelInfo:
        """Ask a replica what it loaded. Raises ModelUnavailable, DeadlineExceeded (still loading)."""
        info: ModelInfo = await self.guard.call(
            f"{self.dependency} info", _INFO, lambda: call(self.handle.info), unavailable=ModelUnavailable
        )
        return info

    async def _call(self, method: Any, *arguments: Any, extra_timeout_s: float = 0.0) -> Any:
        return await self.guard.call(
            self.dependency,
            self.policy,
            lambda: call(method, *arguments),
            extra_timeout_s=extra_timeout_s,
            unavailable=ModelUnavailable,
        )


class RemoteTranscriber(RemoteModel):
    """Implements Transcriber. Samples are a top-level argument, so that a reference is resolved in the replica."""

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        """Send one window into the replica's batch."""
        transcript: WindowTranscript = await self._call(
            self.handle.transcribe,
            window.samples,
            replace(window, samples=None),
            options,
            extra_timeout_s=_DECODING_S_PER_AUDIO_S * (window.end_s - window.start_s),
        )
        return transcript

    async def detect_language(self, window: Window) -> LanguageGuess:
        """Ask for the language of one window."""
        guess: LanguageGuess = await self._call(
            self.handle.detect_language, window.samples, replace(window, samples=None)
        )
        return guess


class RemoteDiarizer(RemoteModel):
    """Implements Diarizer."""

    async def diarize(self, samples: object, options: DiarizationOptions) -> Diarization:
        """Send a whole recording by reference."""
        diarization: Diarization = await self._call(
            self.handle.diarize, samples, options, extra_timeout_s=_DIARIZATION_LIMIT_S
        )
        return diarization


_DIARIZATION_LIMIT_S = 2 * 3600.0
"""As long as the longest recording that unsharded diarization takes: slower than real time is as good as stuck."""


class RemoteEmbedder(RemoteModel):
    """Implements Embedder; concurrent queries meet in the replica's batch."""

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        """Embed texts to be found."""
        if not texts:
            return ()
        embeddings: tuple[Embedding, ...] = await self._call(
            self.handle.embed_passages, tuple(texts), extra_timeout_s=1.0 * len(texts)
        )
        return embeddings

    async def embed_query(self, text: str) -> Embedding:
        """Embed a question."""
        embedding: Embedding = await self._call(self.handle.embed_query, text)
        return embedding


class RemoteReranker(RemoteModel):
    """Implements Reranker."""

    async def rerank(self, query: str, texts: Sequence[str]) -> tuple[float, ...]:
        """Score texts against a query."""
        scores: tuple[float, ...] = await self._call(self.handle.rerank, query, tuple(texts))
        return scores
