"""Text with times and speakers, from single windows up to the whole recording."""

from dataclasses import dataclass, field, replace
from typing import Literal

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word; ``text`` has no surrounding white space."""

    text: str
    start_s: float
    end_s: float
    speaker: str | None = None
    confidence: float | None = None
    """Mean token probability, 0–1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of speech of one speaker; times are seconds from the start of the recording."""

    id: int
    start_s: float
    end_s: float
    text: str
    speaker: str | None = None
    confidence: float | None = None
    """exp(average log-probability), 0–1."""
    words: tuple[Word, ...] = ()
    """Empty unless word timestamps were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A whole recording as text. Segments are sorted by start and numbered from 0."""

    language: str
    """BCP 47 code as Whisper uses it ("en")."""
    duration_s: float
    segments: tuple[Segment, ...] = ()

    @property
    def text(self) -> str:
        """All segments joined by single spaces."""
        return " ".join(segment.text for segment in self.segments if segment.text)

    @property
    def speakers(self) -> tuple[str, ...]:
        """Distinct speakers in the order in which they first speak."""
        return tuple(dict.fromkeys(segment.speaker for segment in self.segments if segment.speaker))

    def without_words(self) -> "Transcript":
        """The same transcript without word times, for whoever did not ask for them."""
        return replace(self, segments=tuple(replace(segment, words=()) for segment in self.segments))


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionOptions:
    """How a window is decoded (names and defaults as in faster-whisper)."""

    language: str | None = None
    """None: detected once per recording, from its first windows."""
    task: Task = "transcribe"
    beam_size: int = 5
    prompt: str | None = None
    """Names and terms to expect; given to every window."""
    word_timestamps: bool = False
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """The first is used in the batch; the others one after another when a window is decoded again alone."""
    compression_ratio_threshold: float = 2.4
    """Above it the text repeats itself: decode again."""
    log_prob_threshold: float = -1.0
    """Below it the model was guessing: decode again."""
    no_speech_threshold: float = 0.6
    """Above it, and below log_prob_threshold: there is no speech, keep no text."""
    urgency: int = 2
    """Order in the batch queue: 0 live, 1 a waiting request, 2 a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTranscript:
    """What the Transcriber made of one window. Times are seconds from the start of the recording."""

    index: int
    start_s: float
    end_s: float
    language: str
    segments: tuple[Segment, ...]
    """Ids are local to the window; empty where nothing was said."""
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float
    redecoded: bool = False
    """True where the batch's result looked wrong and the window was decoded again alone."""
    tokens: int = 0

    @property
    def text(self) -> str:
        """All segments joined by single spaces."""
        return " ".join(segment.text for segment in self.segments if segment.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageGuess:
    """The language heard in a window, with its probability (1.0 for an English-only model)."""

    language: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerTurn:
    """One speaker speaks from start to end."""

    start_s: float
    end_s: float
    speaker: str
    """``SPEAKER_00``, ``SPEAKER_01``, … in order of first appearance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diarization:
    """Who speaks when. ``turns`` may overlap; ``exclusive_turns`` never do and are the ones to put on words."""

    turns: tuple[SpeakerTurn, ...]
    exclusive_turns: tuple[SpeakerTurn, ...]

    @property
    def speakers(self) -> tuple[str, ...]:
        """Distinct speakers in order of first appearance."""
        return tuple(dict.fromkeys(turn.speaker for turn in self.turns))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiarizationOptions:
    """What is known about the number of speakers; None: let the model find out."""

    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedSpan:
    """Detected speech of at least 0.5 s that no kept segment overlaps."""

    start_s: float
    end_s: float
    reason: str
    """``no_text`` (the model wrote nothing), ``no_speech`` (it judged there to be none), ``repetition`` (discarded)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionReport:
    """A transcript and what is known about how it came to be."""

    transcript: Transcript
    speech_s: float
    windows: int
    redecoded_windows: int
    dropped_spans: tuple[DroppedSpan, ...] = ()
    confidence: float | None = None
    """Duration-weighted mean of the segments' confidences; None without text."""
    warnings: tuple[str, ...] = field(default=())
