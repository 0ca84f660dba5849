"""Who spoke when."""

from dataclasses import dataclass


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
