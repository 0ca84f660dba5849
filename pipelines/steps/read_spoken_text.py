"""Text that arrives without a recording, as a transcript: typed text, or segments with speakers."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipelines.domain.transcript import Segment, Transcript
from pipelines.errors import InvalidRequest, TooLarge

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")
_PIECE_CHARACTERS = 600
"""Sentences are packed into segments of about this length, so that long text can be split like a long recording."""


def read_text(text: str, *, language: str = "en", most_characters: int) -> Transcript:
    """Return a transcript without times (``duration_s`` 0) and speakers.

    Raises InvalidRequest for text without letters or digits, TooLarge above ``most_characters``.
    """
    _check_size(len(text), most_characters)
    if not any(letter.isalnum() for letter in text):
        raise InvalidRequest("the text is empty", "text")
    segments = tuple(
        Segment(id=number, start_s=0.0, end_s=0.0, text=piece) for number, piece in enumerate(_pieces(text))
    )
    return Transcript(language=language, duration_s=0.0, segments=segments)


def read_segments(segments: Sequence[Segment], *, language: str = "en", most_characters: int) -> Transcript:
    """Return a transcript of these segments, sorted by start and numbered; it has times if any segment has.

    Raises InvalidRequest for no text or a segment that ends before it starts, TooLarge above ``most_characters``.
    """
    _check_size(sum(len(segment.text) for segment in segments), most_characters)
    if not any(letter.isalnum() for segment in segments for letter in segment.text):
        raise InvalidRequest("the segments hold no text", "segments")
    if any(not 0 <= segment.start_s <= segment.end_s for segment in segments):
        raise InvalidRequest("a segment ends before it starts", "segments")
    ordered = sorted(segments, key=lambda segment: segment.start_s)
    duration_s = max(segment.end_s for segment in segments)
    numbered = tuple(replace(segment, id=number) for number, segment in enumerate(ordered))
    return Transcript(language=language, duration_s=duration_s, segments=numbered)


def _check_size(characters: int, most_characters: int) -> None:
    if characters > most_characters:
        raise TooLarge(f"the text has {characters} characters, more than {most_characters}", "text")


def _pieces(text: str) -> Iterator[str]:
    piece = ""
    for sentence in filter(None, map(str.strip, _SENTENCE_END.split(text))):
        if piece and len(piece) + len(sentence) > _PIECE_CHARACTERS:
            yield piece
            piece = ""
        piece = f"{piece} {sentence}".strip()
    if piece:
        yield piece
