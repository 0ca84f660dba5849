"""SpeechDetector over Silero VAD v6 (github.com/snakers4/silero-vad), whose network faster-whisper's wheel carries.

The rules that turn probabilities into spans are those of ``faster_whisper.vad.get_speech_timestamps``, made
incremental: the state of the network and of the rules is carried from block to block, so that memory does not grow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.domain.audio import MAX_SPEECH_PIECE_S, SAMPLE_RATE_HZ, TimeSpan, WindowingOptions
from pipelines.domain.samples import Samples, as_float

FRAME_SAMPLES = 512
_CONTEXT_SAMPLES = 64
_HYSTERESIS = 0.15
"""Speech ends below ``threshold`` minus this (Silero's own default)."""
_MAX_PIECE_SAMPLES = round(MAX_SPEECH_PIECE_S * SAMPLE_RATE_HZ)

Probabilities = NDArray[np.float32]


@cache
def load_session() -> Any:
    """Load the network (about 1 MB), once a process; one thread, because one recording is a sequence."""
    import onnxruntime
    from faster_whisper.utils import get_assets_path

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        f"{get_assets_path()}/silero_vad_v6.onnx", providers=["CPUExecutionProvider"], sess_options=options
    )


class SileroDetector:
    """Implements SpeechDetector for one recording. Long spans are returned in pieces."""

    def __init__(self, options: WindowingOptions) -> None:
        self._network = _StreamingNetwork(load_session())
        self._spans = _SpanRules(options)
        self._unframed: Samples = np.zeros(0, dtype=np.int16)
        self._pushed = 0

    def push(self, block: Samples) -> Sequence[TimeSpan]:
        """Take samples and return the spans that are certain; see SpeechDetector.push."""
        self._pushed += len(block)
        samples = np.concatenate([self._unframed, block])
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        self._unframed = samples[whole:]
        return self._spans.add(self._network.probabilities(samples[:whole]))

    def finish(self) -> Sequence[TimeSpan]:
        """Return what is left; see SpeechDetector.finish."""
        padding = np.zeros(FRAME_SAMPLES - len(self._unframed), dtype=np.int16)
        last = self._network.probabilities(np.concatenate([self._unframed, padding]))
        return [*self._spans.add(last), *self._spans.finish(self._pushed)]


class SileroMeter:
    """Implements SpeechMeter for one session."""

    def __init__(self) -> None:
        self._network = _StreamingNetwork(load_session())
        self._unframed: Samples = np.zeros(0, dtype=np.int16)

    def push(self, block: Samples) -> Sequence[float]:
        """Return the probabilities of the frames that are complete; see SpeechMeter.push."""
        samples = np.concatenate([self._unframed, block])
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        self._unframed = samples[whole:]
        probabilities: list[float] = self._network.probabilities(samples[:whole]).tolist()
        return probabilities


class _StreamingNetwork:
    """Silero's network with its recurrent state and the 64 samples of context it wants before each frame."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._hidden = np.zeros((1, 1, 128), dtype=np.float32)
        self._cell = np.zeros((1, 1, 128), dtype=np.float32)
        self._context = np.zeros(_CONTEXT_SAMPLES, dtype=np.float32)

    def probabilities(self, samples: Samples) -> Probabilities:
        """Return one speech probability a frame of 512 samples (32 ms), shape ``(len(samples) // 512,)``."""
        if not len(samples):
            return np.zeros(0, dtype=np.float32)
        frames = as_float(samples).reshape(-1, FRAME_SAMPLES)
        tails = np.vstack([self._context, frames[:-1, -_CONTEXT_SAMPLES:]])
        self._context = frames[-1, -_CONTEXT_SAMPLES:]
        output, self._hidden, self._cell = self._session.run(
            None, {"input": np.hstack([tails, frames]), "h": self._hidden, "c": self._cell}
        )
        return np.asarray(output, dtype=np.float32).reshape(-1)


@dataclass(slots=True)
class _Span:
    start: int
    end: int


@dataclass(slots=True)
class _SpanRules:
    """Probabilities to padded spans, in samples. ``held`` has ended, but its padding depends on what comes next."""

    options: WindowingOptions
    position: int = 0
    """Of the next frame."""
    start: int | None = None
    """Of the speech under way."""
    silence_start: int | None = None
    """Where the speech under way may have ended."""
    held: _Span | None = None
    ready: list[TimeSpan] = field(default_factory=list)

    @property
    def _pad(self) -> int:
        return self.options.speech_pad_ms * SAMPLE_RATE_HZ // 1000

    def add(self, probabilities: Probabilities) -> list[TimeSpan]:
        """Take the next frames; return the spans that became certain."""
        for probability in probabilities.tolist():
            self._add_frame(probability)
            self.position += FRAME_SAMPLES
        return self._take_ready()

    def finish(self, length: int) -> list[TimeSpan]:
        """Return the last span, padded at most to the recording's ``length``."""
        if self.start is not None:
            self._return(_Span(self.start, length))
        elif self.held is not None:
            self._return(_Span(self.held.start, min(length, self.held.end + self._pad)))
        return self._take_ready()

    def _add_frame(self, probability: float) -> None:
        if probability >= self.options.threshold:
            self.silence_start = None
            if self.start is None:
                self.start = self._padded_start()
        elif self.start is not None and probability < max(self.options.threshold - _HYSTERESIS, 0.01):
            if self.silence_start is None:
                self.silence_start = self.position
            silence_ms = (self.position - self.silence_start) * 1000 / SAMPLE_RATE_HZ
            if silence_ms >= self.options.min_silence_duration_ms:
                self.held = _Span(self.start, self.silence_start)
                self.start = self.silence_start = None
        self._return_what_is_certain()

    def _padded_start(self) -> int:
        """Begin a span at this frame: neighbours that are nearer than two paddings share the silence between them."""
        if self.held is None:
            return max(0, self.position - self._pad)
        half = min(self._pad, (self.position - self.held.end) // 2)
        end = self.held.end + half
        self._return(_Span(self.held.start, end))
        self.held = None
        return max(end + 1, self.position - half)  # only pieces of one span abut

    def _return_what_is_certain(self) -> None:
        if self.held is not None and self.position - self.held.end >= 2 * self._pad:
            self._return(_Span(self.held.start, self.held.end + self._pad))
            self.held = None
        if self.start is not None and self.silence_start is None and self.position - self.start >= _MAX_PIECE_SAMPLES:
            self._return(_Span(self.start, self.position))
            self.start = self.position

    def _return(self, span: _Span) -> None:
        self.ready.append(TimeSpan(start_s=span.start / SAMPLE_RATE_HZ, end_s=span.end / SAMPLE_RATE_HZ))

    def _take_ready(self) -> list[TimeSpan]:
        ready, self.ready = self.ready, []
        return ready
