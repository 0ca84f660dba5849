"""What is asked of a transcript's text, the pieces it is worked on in, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.domain.answer import SamplingOptions
from pipelines.domain.model import Degradation, DegradedStage
from pipelines.domain.transcript import Segment, Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptPart:
    """A stretch of a transcript that fits a token budget. The parts of a transcript, joined, are the transcript."""

    index: int
    segments: tuple[Segment, ...]

    @property
    def start_s(self) -> float:
        """Where the first segment starts."""
        return self.segments[0].start_s

    @property
    def end_s(self) -> float:
        """Where the last segment ends."""
        return max(segment.end_s for segment in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence that somebody said; times are interpolated where a segment holds several."""

    index: int
    start_s: float
    end_s: float
    text: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """Something with a recognisable form: a date, an amount, a name, an address, a reference."""

    kind: str
    text: str
    sentence: Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderstandingRequest:
    """Which text features are wanted, and with what."""

    features: tuple[str, ...]
    """``summary``, ``translation``, ``entities``, ``classification``, ``quality``; others are ignored."""
    templates: Mapping[str, str] = field(default_factory=dict)
    """Template id by feature; a feature that is missing takes the shipped default. ``summary`` has none."""
    labels: tuple[str, ...] = ()
    """For ``classification``."""
    target_language: str | None = None
    """For ``translation``."""
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    """What the request itself says about decoding: the first level of the hierarchy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderstandingOptions:
    """What the deployment says about language work: the profile's level."""

    sampling: SamplingOptions = field(default_factory=lambda: SamplingOptions(temperature=0.0))
    concurrency: int = 16
    """Model calls under way at once for one transcript."""
    call_timeout_s: float = 120.0
    """For one answer; beyond it the model counts as too slow."""
    failures_before_giving_up: int = 3
    """Calls in a row that may fail for want of a model before the rest of a transcript is not even tried."""
    max_parts: int = 64
    """A text of more parts than this is refused: TooLarge."""
    chunk_characters: int = 900
    """A speaker's turn longer than this is rewritten in several chunks."""
    max_edit_rate: float = 0.6
    """A rewritten chunk that differs more than this was answered or invented, not cleaned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedChunk:
    """A stretch whose rewritten text was not used; the raw text stands there instead."""

    start_s: float
    end_s: float
    reason: str
    """``edit_rate`` (too different from what was said), or the error's code."""
    edit_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """A template filled from the transcript alone."""

    answer: Mapping[str, object]
    """Fits the template's schema."""
    by_words: str | None = None
    """Why sentences were compared by their words instead of their meaning; None where they were not."""

    def degradations(self, stage: DegradedStage) -> tuple[Degradation, ...]:
        """Return what this stage says about it."""
        if self.by_words is None:
            return ()
        return (Degradation(stage=stage, wanted="embedder", used="bag of words", reason=self.by_words),)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhancementReport:
    """A transcript made readable, and what is known about how that went."""

    transcript: Transcript
    """Times and speakers of the raw transcript, the text cleaned."""
    edit_rate: float | None
    """Character Levenshtein ÷ length of the longer, over the whole text; None where enhancement was skipped."""
    chunks: int = 0
    rejected: tuple[RejectedChunk, ...] = ()
    skipped: str | None = None
    """Why nothing was done: the speech model writes punctuation itself, it was not wanted, or nothing was said."""
    versions: Mapping[str, object] = field(default_factory=dict)
    """What stands under ``versions.llm.clean_transcript``."""
    degraded: tuple[Degradation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderstandingReport:
    """What the text features gave."""

    results: Mapping[str, object] = field(default_factory=dict)
    """By feature; None where neither a model nor a fallback could answer (see ``degraded``)."""
    versions: Mapping[str, object] = field(default_factory=dict)
    """What stands under ``versions.llm``, by feature."""
    degraded: tuple[Degradation, ...] = ()
