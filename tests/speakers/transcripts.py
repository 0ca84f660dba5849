"""Short ways to write transcripts and diarizations in tests."""

from pipelines.domain.speakers import Diarization, SpeakerTurn
from pipelines.domain.transcript import Segment, Transcript, Word


def words(text: str, start_s: float = 0.0, step_s: float = 0.5) -> tuple[Word, ...]:
    """One word every ``step_s`` seconds, without gaps."""
    return tuple(
        Word(text=word, start_s=start_s + place * step_s, end_s=start_s + (place + 1) * step_s, confidence=0.9)
        for place, word in enumerate(text.split())
    )


def segment(
    text: str, start_s: float, end_s: float, *, speaker: str | None = None, timed: bool = False, number: int = 0
) -> Segment:
    """A segment, with evenly spaced words where ``timed``."""
    step_s = (end_s - start_s) / max(1, len(text.split()))
    return Segment(
        id=number,
        start_s=start_s,
        end_s=end_s,
        text=text,
        speaker=speaker,
        confidence=0.8,
        words=words(text, start_s, step_s) if timed else (),
    )


def transcript(*segments: Segment, language: str = "en") -> Transcript:
    return Transcript(
        language=language, duration_s=max((s.end_s for s in segments), default=0.0), segments=tuple(segments)
    )


def diarization(*turns: tuple[float, float, int]) -> Diarization:
    """Turns as (start, end, number of the speaker), exclusive."""
    listed = tuple(SpeakerTurn(start_s=a, end_s=b, speaker=f"SPEAKER_{n:02d}") for a, b, n in turns)
    return Diarization(turns=listed, exclusive_turns=listed)
