"""Cuts a transcript into parts that fit a token budget, at changes of speaker where that is possible."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from pipelines.domain.transcript import Segment
from pipelines.domain.understanding import TranscriptPart

Measure = Callable[[Segment], int]
"""How many tokens a segment takes in a prompt, its time and speaker included."""

_LONG_WORD = 40


def split_transcript(segments: Sequence[Segment], budget_tokens: int, measure: Measure) -> tuple[TranscriptPart, ...]:
    """Return parts of at most ``budget_tokens`` that, joined, are the transcript: no turn is lost or reordered.

    A part ends where the speaker changes; a turn that is longer than a whole part is cut between its segments, and a
    segment that is longer still between its words (its times are divided by characters). Raises ValueError where the
    budget is not positive. What cannot be divided (a word of under 40 characters) may exceed the budget.
    """
    if budget_tokens < 1:
        raise ValueError("the token budget must be positive")
    parts: list[list[Segment]] = []
    left = 0
    for turn in _turns(segments):
        pieces = [piece for segment in turn for piece in split_segment(segment, budget_tokens, measure)]
        sizes = [measure(piece) for piece in pieces]
        if not parts or (sum(sizes) > left and left < budget_tokens):
            parts.append([])
            left = budget_tokens
        for piece, size in zip(pieces, sizes, strict=True):
            if size > left and parts[-1]:
                parts.append([])
                left = budget_tokens
            parts[-1].append(piece)
            left -= size
    return tuple(TranscriptPart(index=index, segments=tuple(part)) for index, part in enumerate(parts) if part)


def split_segment(segment: Segment, budget_tokens: int, measure: Measure) -> Iterator[Segment]:
    """Yield the segment, halved between words until each piece fits or cannot be divided."""
    halves = () if measure(segment) <= budget_tokens else _halved_text(segment.text)
    if not halves:
        yield segment
        return
    for piece in _halves(segment, *halves):
        yield from split_segment(piece, budget_tokens, measure)


def split_turns(segments: Sequence[Segment], longest_characters: int) -> tuple[TranscriptPart, ...]:
    """Return one part a speaker's turn, and several for a turn longer than ``longest_characters``."""
    parts = [
        part
        for turn in _turns(segments)
        for part in split_transcript(turn, longest_characters, lambda segment: len(segment.text) + 1)
    ]
    return tuple(replace(part, index=index) for index, part in enumerate(parts))


def _turns(segments: Sequence[Segment]) -> Iterator[tuple[Segment, ...]]:
    for _, turn in groupby(segments, key=lambda segment: segment.speaker):
        yield tuple(turn)


def _halved_text(text: str) -> tuple[str, str] | tuple[()]:
    """Halve between words; a long text without spaces (Chinese, Thai) between characters."""
    words = text.split()
    if len(words) > 1:
        return " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])
    return (text[: len(text) // 2], text[len(text) // 2 :]) if len(text) >= _LONG_WORD else ()


def _halves(segment: Segment, first: str, second: str) -> tuple[Segment, Segment]:
    share = len(first) / (len(first) + len(second))
    middle_s = round(segment.start_s + share * (segment.end_s - segment.start_s), 3)
    earlier = tuple(word for word in segment.words if word.start_s < middle_s)
    later = segment.words[len(earlier) :]
    return (
        replace(segment, text=first, end_s=middle_s, words=earlier),
        replace(segment, text=second, start_s=middle_s, words=later),
    )
