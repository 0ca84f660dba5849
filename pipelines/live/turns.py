"""Where turns begin and end: one speech probability every 32 ms, with the rules of a server-side detector."""

from dataclasses import dataclass, field
from enum import StrEnum

from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.domain.live import TurnOptions

FRAME_SAMPLES = 512
_HYSTERESIS = 0.15
"""Speech ends below ``threshold`` minus this (Silero's own default)."""
_MIN_SPEECH_FRAMES = 2
"""A click is no speech."""
EAGER_SHARE = 0.5
"""After this share of the silence that ends a turn, its text is made: most often nobody goes on."""
_JOINED_SAMPLES = SAMPLE_RATE_HZ // 4
"""Shorter pauses do not divide a stretch of speech."""


class Signal(StrEnum):
    """What a frame changes."""

    STARTED = "started"
    PAUSED = "paused"
    """The turn may have ended."""
    RESUMED = "resumed"
    """It had not."""
    STOPPED = "stopped"


@dataclass(slots=True)
class TurnRules:
    """Probabilities to signals. Positions are samples of the session."""

    options: TurnOptions
    position: int = 0
    """Of the next frame."""
    speaking: bool = False
    started: int = 0
    """Where the turn under way begins, with its padding."""
    voice_end: int = 0
    """The end of the last frame with speech."""
    speech: list[tuple[int, int]] = field(default_factory=list)
    """Stretches of speech that were not forgotten yet."""
    _rising: int = 0
    _silence: int | None = None
    _paused: bool = False

    def add(self, probability: float) -> Signal | None:
        """Take the next frame."""
        start, self.position = self.position, self.position + FRAME_SAMPLES
        if probability >= self.options.threshold:
            return self._voice(start)
        if probability < max(self.options.threshold - _HYSTERESIS, 0.01):
            self._rising = 0
            return self._quiet(start) if self.speaking else None
        return None

    def reset(self) -> None:
        """Begin anew: what was being said belongs to no turn any more."""
        self.speaking, self._rising, self._silence, self._paused = False, 0, None, False
        self.speech.clear()

    def forget_before(self, position: int) -> None:
        """Hold no stretch of speech that ended before ``position``."""
        self.speech = [span for span in self.speech if span[1] > position]

    def _voice(self, start: int) -> Signal | None:
        self._rising += 1
        self._silence = None
        if not self.speaking and self._rising < _MIN_SPEECH_FRAMES:
            return None
        first = start - (_MIN_SPEECH_FRAMES - 1) * FRAME_SAMPLES if not self.speaking else start
        self._note(first, self.position)
        self.voice_end = self.position
        if not self.speaking:
            self.speaking = True
            self.started = max(0, first - self.options.prefix_padding_ms * SAMPLE_RATE_HZ // 1000)
            return Signal.STARTED
        if self._paused:
            self._paused = False
            return Signal.RESUMED
        return None

    def _quiet(self, start: int) -> Signal | None:
        if self._silence is None:
            self._silence = start
        silence_ms = (self.position - self._silence) * 1000 / SAMPLE_RATE_HZ
        if silence_ms >= self.options.silence_duration_ms:
            self.speaking, self._paused, self._silence = False, False, None
            return Signal.STOPPED
        if not self._paused and silence_ms >= EAGER_SHARE * self.options.silence_duration_ms:
            self._paused = True
            return Signal.PAUSED
        return None

    def _note(self, start: int, end: int) -> None:
        if self.speech and start - self.speech[-1][1] <= _JOINED_SAMPLES:
            self.speech[-1] = (self.speech[-1][0], end)
        else:
            self.speech.append((start, end))
