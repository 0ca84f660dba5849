"""Where the words of a segment stand in its text, and when: whoever cuts a text cuts it here, and joins nothing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.domain.transcript import Segment, Word
from pipelines.domain.writing import find_pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedWord:
    """One word, where it stands in the segment's text, and when it is said."""

    text: str
    offset: int
    start_s: float
    end_s: float
    estimated: bool
    """The time comes from the word's place in the text, not from the model."""

    @property
    def end(self) -> int:
        """Offset after the last character."""
        return self.offset + len(self.text)


def locate_words(segment: Segment) -> tuple[TimedWord, ...]:
    """Return the words of a segment in order, one for one with ``segment.words`` where it has them.

    Without them the text is taken apart at white space, and in scripts without it after every second character; each
    word gets the share of the segment's time that its characters have in the text. Words that do not stand in the text
    one after another (a model may write them differently) are placed by their share of the text, so that every word has
    a place and none overlap.
    """
    if not segment.words:
        return _estimate(segment)
    return _locate(segment) or _spread(segment)


def _estimate(segment: Segment) -> tuple[TimedWord, ...]:
    rate = (segment.end_s - segment.start_s) / max(1, len(segment.text))
    return tuple(
        TimedWord(
            text=match.group(),
            offset=match.start(),
            start_s=segment.start_s + match.start() * rate,
            end_s=segment.start_s + match.end() * rate,
            estimated=True,
        )
        for match in find_pieces(segment.text)
    )


def _locate(segment: Segment) -> tuple[TimedWord, ...]:
    """Find each word after the one before it; empty where one is missing or text would be left between them."""
    located: list[TimedWord] = []
    cursor = 0
    for word in segment.words:
        offset = segment.text.find(word.text, cursor)
        if offset < 0 or segment.text[cursor:offset].strip():
            return ()
        located.append(_timed(word, word.text, offset))
        cursor = offset + len(word.text)
    return tuple(located) if not segment.text[cursor:].strip() else ()


def _spread(segment: Segment) -> tuple[TimedWord, ...]:
    """Deal the text's own words out over the timed ones in order, as evenly as they go."""
    matches = list(re.finditer(r"\S+", segment.text))
    count = len(segment.words)
    firsts = [round(place * len(matches) / count) for place in range(count + 1)]
    located = []
    cursor = 0
    for word, first, last in zip(segment.words, firsts, firsts[1:], strict=False):
        offset = matches[first].start() if first < last else cursor
        cursor = matches[last - 1].end() if first < last else cursor
        located.append(_timed(word, segment.text[offset:cursor], offset))
    return tuple(located)


def _timed(word: Word, text: str, offset: int) -> TimedWord:
    return TimedWord(text=text, offset=offset, start_s=word.start_s, end_s=word.end_s, estimated=False)


def text_between(segment: Segment, words: Sequence[TimedWord], first: int, last: int) -> str:
    """Return the segment's own text from word ``first`` up to word ``last`` (exclusive), as it is written there.

    ``words`` are all of the segment, as ``locate_words`` returns them: cut at every word, nothing of the text is lost.
    """
    start = words[first].offset if first else 0
    end = words[last].offset if last < len(words) else len(segment.text)
    return segment.text[start:end].strip()
