"""Cuts a transcript into sentences with times, for everything that picks sentences instead of writing them."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby

from pipelines.domain.transcript import Segment, Transcript
from pipelines.domain.understanding import Sentence
from pipelines.steps.sentence_bounds import sentence_bounds

_TERMINAL = re.compile(r"[.!?…。！？]")
_LONGEST_CHARACTERS = 320
_UNPUNCTUATED_CHARACTERS = 400
"""Fewer than one full stop in so many characters: the speech model writes none, and pauses must do."""


def split_sentences(transcript: Transcript) -> tuple[Sentence, ...]:
    """Return the sentences in order, each of one speaker and at most 320 characters.

    Sentences run on over segments of one speaker where the text is punctuated; otherwise each segment is one. Times
    are interpolated by characters inside a segment.
    """
    segments = [segment for segment in transcript.segments if segment.text.strip()]
    text_length = sum(len(segment.text) for segment in segments)
    stops = sum(len(_TERMINAL.findall(segment.text)) for segment in segments)
    pieces: Iterator[Sentence] | list[Sentence]
    if stops * _UNPUNCTUATED_CHARACTERS < text_length:
        pieces = [piece for segment in segments for piece in _cut((segment,))]
    else:
        turns = (tuple(turn) for _, turn in groupby(segments, key=lambda segment: segment.speaker))
        pieces = [piece for turn in turns for piece in _cut(turn)]
    return tuple(
        Sentence(index=index, start_s=piece.start_s, end_s=piece.end_s, text=piece.text, speaker=piece.speaker)
        for index, piece in enumerate(pieces)
    )


def _cut(turn: Sequence[Segment]) -> Iterator[Sentence]:
    text = " ".join(" ".join(segment.text.split()) for segment in turn)
    clock = _Clock(turn)
    for start, end in _spans(text):
        yield Sentence(
            index=0,
            start_s=clock.at(start),
            end_s=clock.at(end, ending=True),
            text=text[start:end],
            speaker=turn[0].speaker,
        )


def _spans(text: str) -> Iterator[tuple[int, int]]:
    for start, end in sentence_bounds(text):
        yield from _shortened(text, start, end)


def _shortened(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > _LONGEST_CHARACTERS:
        space = text.rfind(" ", start + 1, start + _LONGEST_CHARACTERS)
        cut = space if space > start else start + _LONGEST_CHARACTERS
        yield start, cut
        start = cut + (space > start)
    if text[start:end].strip():
        yield start, end


class _Clock:
    """Times of character positions in the joined text of one turn."""

    def __init__(self, turn: Sequence[Segment]) -> None:
        self._turn = turn
        self._starts = [0]
        for segment in turn:
            self._starts.append(self._starts[-1] + len(" ".join(segment.text.split())) + 1)

    def at(self, position: int, *, ending: bool = False) -> float:
        """Return the time of a character; ``ending``: of the end of the character before it."""
        inside = position - 1 if ending else position
        place = min(bisect_right(self._starts, max(inside, 0)), len(self._turn)) - 1
        segment, length = self._turn[place], max(self._starts[place + 1] - self._starts[place] - 1, 1)
        share = min(max((position - self._starts[place]) / length, 0.0), 1.0)
        return round(segment.start_s + share * (segment.end_s - segment.start_s), 3)
