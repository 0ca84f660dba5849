"""Is the engine that serves still right? Asked by an input whose answer is known, at an interval, bounded in time.

A CUDA context that an error has poisoned, a library that returns empty text, and an engine that hangs are all processes
that live: Serve sees nothing wrong with them. Each ends here in ModelUnavailable, and so in another replica.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Generic, TypeVar

import numpy as np
import structlog

from pipelines.domain.audio import SAMPLE_RATE_HZ, TimeSpan, Window
from pipelines.domain.model import Urgency
from pipelines.domain.samples import Samples
from pipelines.domain.speakers import DiarizationOptions
from pipelines.domain.transcript import TranscriptionOptions
from pipelines.errors import ModelUnavailable, Overloaded
from pipelines.ports.models import Diarizer, Embedder, Reranker, Transcriber
from serve_app.models.chain import ModelChain
from serve_app.settings import SHIPPED_FOLDER

EngineT = TypeVar("EngineT", bound=Any)
INTERVAL_S = 60.0
"""Between two known inputs: the cost of one is a second of speech, two sentences."""
BUSY_INTERVAL_S = 5 * INTERVAL_S
"""The same where the replica is busy whenever Serve asks: its calls come back, but perhaps with nothing in them."""
PROBE_S = 25.0
"""Longest wait for the answer, below Serve's own time-out of a health check (``build.py``)."""
_SUSPICIOUS_FAILURES = 3
"""So many calls in a row that ended in an error of the model bring the next known input forward."""
_CLIP = SHIPPED_FOLDER / "demo" / "recordings" / "support-call.ogg"
_CLIP_S = 6.0
_LIKE, _SAME, _OTHER = "The meeting starts at nine.", "The meeting starts at nine o'clock.", "Whales sing in the sea."

log = structlog.get_logger(__name__)


class ModelHealth(Generic[EngineT]):
    """Decides whether a replica should go on. ``check`` is what Serve calls every few seconds."""

    def __init__(
        self,
        chain: ModelChain[EngineT],
        probe: Callable[[EngineT], Awaitable[None]],
        *,
        longest_call_s: float,
        clock: Callable[[], float] = time.monotonic,
        probe_s: float = PROBE_S,
    ) -> None:
        """Take the chain, and the known input with its judgement (it raises ModelUnavailable for a wrong answer).

        ``longest_call_s``: an engine that has been busy with one call for longer hangs; one that has not is not judged
        by how long a known input would have to wait behind that call.
        """
        self._chain = chain
        self._probe = probe
        self._longest_call_s = longest_call_s
        self._clock = clock
        self._probe_s = probe_s
        self._asked_s: float | None = None

    async def check(self) -> None:
        """Return where the engine may go on. Raises ModelUnavailable where the replica should be replaced."""
        waited_s = self._chain.longest_wait_s
        if waited_s > self._longest_call_s:
            raise ModelUnavailable(f"a call of the model has not ended in {waited_s:.0f} s")
        suspicious = self._chain.failures_in_a_row >= _SUSPICIOUS_FAILURES
        if not suspicious and not self._due():
            return
        self._asked_s = self._clock()
        try:
            async with asyncio.timeout(self._probe_s):
                await self._chain.call(self._probe)
        except Overloaded:
            return  # it is busy, and nothing says that it is ill
        except TimeoutError:
            if self._chain.busy and not suspicious:
                return
            self._asked_s = -math.inf
            raise ModelUnavailable(f"the model did not answer a known input in {self._probe_s:.0f} s") from None
        except Exception as error:
            self._asked_s = -math.inf  # Serve replaces a replica that fails several times in a row: ask at once again
            log.warning("model_unhealthy", reason=str(error))
            raise

    def _due(self) -> bool:
        """Whether the next known input is due: soon where the replica idles, in a while where it always works."""
        now_s, busy = self._clock(), self._chain.busy
        if self._asked_s is None and busy:
            self._asked_s = now_s
        if self._asked_s is None:
            return True
        return now_s - self._asked_s >= (BUSY_INTERVAL_S if busy else INTERVAL_S)


async def probe_transcriber(engine: Transcriber) -> None:
    """Have a few seconds of known speech transcribed: any recognizer writes some words of it."""
    if await _is_fake(engine):
        return
    samples = await asyncio.to_thread(known_speech)
    extent = TimeSpan(start_s=0.0, end_s=len(samples) / SAMPLE_RATE_HZ)
    window = Window(index=0, start_s=0.0, end_s=extent.end_s, speech=(extent,), samples=samples)
    options = TranscriptionOptions(language="en", beam_size=1, temperatures=(0.0,), urgency=Urgency.LIVE_END)
    if not (await engine.transcribe(window, options)).text.strip():
        raise ModelUnavailable("the recognizer wrote nothing where known speech is")


async def probe_diarizer(engine: Diarizer) -> None:
    """Have a few seconds of known speech diarized: somebody speaks in them."""
    if await _is_fake(engine):
        return
    if not (await engine.diarize(await asyncio.to_thread(known_speech), DiarizationOptions())).turns:
        raise ModelUnavailable("the diarizer heard nobody where known speech is")


async def probe_embedder(engine: Embedder) -> None:
    """Embed three sentences: two that say the same must be nearer to each other than to the third."""
    like, same, other = await engine.embed_passages((_LIKE, _SAME, _OTHER))
    vectors = np.asarray([like.dense, same.dense, other.dense], dtype=np.float64)
    if not np.isfinite(vectors).all():
        raise ModelUnavailable("the embedder's vectors are no numbers")
    near, far = (vectors[1:] @ vectors[0]) / np.linalg.norm(vectors[1:], axis=1)
    if not near > far:
        raise ModelUnavailable("the embedder took sentences that differ for more alike than two that say the same")


async def probe_reranker(engine: Reranker) -> None:
    """Judge two passages against a question: the one that answers it must score higher."""
    right, wrong = await engine.rerank("When does the meeting start?", (_SAME, _OTHER))
    if not right > wrong:
        raise ModelUnavailable("the reranker preferred a passage that says nothing of the question")


@cache
def known_speech() -> Samples:
    """Return the first seconds of a recording that ships, int16 mono at 16 kHz. Blocking, once."""
    from pipelines.audio.decode import PyavDecoder

    wanted = round(_CLIP_S * SAMPLE_RATE_HZ)
    blocks: list[Samples] = []
    with _CLIP.open("rb") as source:
        decoded = PyavDecoder().decode(source, max_duration_s=3600.0)
        try:
            while sum(len(block) for block in blocks) < wanted:
                blocks.append(next(decoded))
        finally:
            decoded.close()
    samples: Samples = np.concatenate(blocks)[:wanted]
    return samples


async def _is_fake(engine: Any) -> bool:
    """A scripted engine hears scripts only, and no voice."""
    return bool((await engine.info()).backend == "fake")
