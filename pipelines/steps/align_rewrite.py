"""Puts a rewritten turn back onto the segments that it was made of, so that times and speakers stay where they were."""

import re
from collections.abc import Sequence
from dataclasses import replace

from rapidfuzz.distance import Levenshtein

from pipelines.domain.transcript import Segment


def align_rewrite(segments: Sequence[Segment], rewritten: str) -> tuple[Segment, ...]:
    """Return the segments of one turn with the rewritten words divided among them, in order; none is lost.

    Words are aligned by edit distance on their letters alone; a segment that keeps no word is left out. Word times
    are dropped, because the words are no longer those that were timed. An empty text gives no segments.
    """
    words = rewritten.split()
    spoken = [_letters(word) for segment in segments for word in segment.text.split()]
    bounds = _map_boundaries(_boundaries(segments), spoken, [_letters(word) for word in words])
    pieces = [" ".join(words[start:end]) for start, end in zip([0, *bounds], bounds, strict=False)]
    aligned = zip(segments, pieces, strict=True)
    return tuple(replace(segment, text=text, words=()) for segment, text in aligned if text)


def _letters(word: str) -> str:
    return re.sub(r"\W", "", word).casefold() or word


def _boundaries(segments: Sequence[Segment]) -> list[int]:
    """Return, for each segment, how many words stand up to its end."""
    total, boundaries = 0, []
    for segment in segments:
        total += len(segment.text.split())
        boundaries.append(total)
    return boundaries


def _map_boundaries(boundaries: Sequence[int], spoken: Sequence[str], words: Sequence[str]) -> list[int]:
    """Return where each boundary of ``spoken`` lies in ``words``; the last one is the end of both."""
    blocks = Levenshtein.opcodes(spoken, words)
    mapped = []
    for boundary in boundaries[:-1]:
        block = next((block for block in blocks if block.src_start <= boundary <= block.src_end), None)
        mapped.append(min(block.dest_start + boundary - block.src_start, block.dest_end) if block else len(words))
    return [*mapped, len(words)]
