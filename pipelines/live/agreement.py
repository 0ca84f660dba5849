"""LocalAgreement-2 (Macháček, Dabre, Bojar 2023): what two hypotheses in a row begin with is committed, for good.

A hypothesis is what the model makes of the sound since the last cut. Its words are compared without case and marks;
what stands is written as the newer hypothesis has it. The last word of a hypothesis is never committed: the sound may
end in the middle of it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipelines.domain.transcript import Segment, WindowTranscript, Word
from pipelines.domain.writing import ends_sentence, find_pieces

_BARE = re.compile(r"[^\w]+")
_REPEATED = 3
"""So many words before a cut are looked for again after it."""
_REPEATED_S = 1.0
"""And so long after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A word (of writing without spaces, two characters) with the marks around it, and the space before it if any."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None

    @property
    def key(self) -> str:
        """What two hypotheses are compared by."""
        return _BARE.sub("", self.text).lower() or self.text.strip()


def pieces_of(transcript: WindowTranscript) -> tuple[Piece, ...]:
    """Return the pieces of a decoded window: with the times of its words, or spread over its segments."""
    return tuple(piece for segment in transcript.segments for piece in _pieces_of(segment))


def _pieces_of(segment: Segment) -> list[Piece]:
    timed = segment.words or (
        Word(text=segment.text, start_s=segment.start_s, end_s=segment.end_s, confidence=segment.confidence),
    )
    clock = _Clock(timed)
    pieces: list[Piece] = []
    said = 0
    for match in find_pieces(segment.text):
        length = len(match.group())
        start_s, end_s, confidence = clock.span(said, said + length)
        said += length
        before = " " if not pieces or segment.text[: match.start()][-1:].isspace() else ""
        pieces.append(Piece(text=before + match.group(), start_s=start_s, end_s=end_s, confidence=confidence))
    return pieces


class _Clock:
    """When each character of a segment is said, spaces not counted."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = [word for word in words if word.text.strip()]
        self._ends: list[int] = []
        for word in self._words:
            self._ends.append((self._ends[-1] if self._ends else 0) + len("".join(word.text.split())))

    def span(self, first: int, after: int) -> tuple[float, float, float | None]:
        """Return start, end and confidence of characters ``first`` to ``after``."""
        starting, ending = self._place(first), self._place(max(first, after - 1))
        return self._at(starting, first), self._at(ending, after), self._words[starting].confidence

    def _place(self, character: int) -> int:
        return next((place for place, end in enumerate(self._ends) if character < end), len(self._words) - 1)

    def _at(self, place: int, character: int) -> float:
        word = self._words[place]
        first = self._ends[place - 1] if place else 0
        share = (character - first) / max(1, self._ends[place] - first)
        return word.start_s + min(1.0, max(0.0, share)) * (word.end_s - word.start_s)


class Agreement:
    """The text of one turn: what was cut away with its sound, what is committed since, and what may still change."""

    def __init__(self) -> None:
        self.settled: list[Piece] = []
        """Committed, and its sound is no longer decoded."""
        self.committed: list[Piece] = []
        """Committed, and its sound is decoded still."""
        self.tentative: tuple[Piece, ...] = ()
        """What the last hypothesis has after the committed text."""

    @property
    def text(self) -> str:
        """All committed text."""
        return written([*self.settled, *self.committed])

    def update(self, hypothesis: Sequence[Piece]) -> tuple[Piece, ...]:
        """Take the next hypothesis; return what is committed by it."""
        rest = self._continue(hypothesis)
        agreed = _common(self.tentative, rest[:-1])
        self.committed += rest[:agreed]
        self.tentative = rest[agreed:]
        return rest[:agreed]

    def commit(self, count: int) -> tuple[Piece, ...]:
        """Commit the next ``count`` pieces, agreed or not."""
        taken, self.tentative = self.tentative[:count], self.tentative[count:]
        self.committed += taken
        return taken

    def finish(self, hypothesis: Sequence[Piece]) -> tuple[Piece, ...]:
        """Take the last hypothesis, and commit all of it that follows the committed text; return that."""
        self.tentative = self._continue(hypothesis)
        return self.commit(len(self.tentative))

    def cut(self, count: int) -> None:
        """Settle the first ``count`` committed pieces: the next hypotheses begin after them."""
        self.settled += self.committed[:count]
        self.committed = self.committed[count:]

    def best_cut(self, *, after_s: float, before_s: float) -> int:
        """Return how many committed pieces to settle so that the cut falls between two times; 0 where none does.

        After a sentence, else in the longest pause, of equals the latest.
        """
        following = [*self.committed, *self.tentative]
        places = [
            place
            for place in range(1, min(len(self.committed) + 1, len(following)))
            if after_s <= following[place - 1].end_s <= before_s
        ]
        return max(
            places,
            key=lambda place: (
                ends_sentence(following[place - 1].text),
                round(following[place].start_s - following[place - 1].end_s, 2),
                place,
            ),
            default=0,
        )

    def cut_s(self, count: int) -> float:
        """Return the time between the committed piece ``count`` and the next one."""
        following = [*self.committed, *self.tentative]
        end_s = following[count - 1].end_s
        return (end_s + max(end_s, following[count].start_s)) / 2 if count < len(following) else end_s

    def _continue(self, hypothesis: Sequence[Piece]) -> tuple[Piece, ...]:
        """Return what of a hypothesis follows the committed text, and take the times of that from it."""
        hypothesis = self._without_repetition(hypothesis)
        known = [piece.key for piece in self.committed]
        heard = [piece.key for piece in hypothesis]
        place = matching_prefix(known, heard)
        if known == heard[:place]:
            self.committed = [
                replace(piece, start_s=again.start_s, end_s=again.end_s, confidence=again.confidence)
                for piece, again in zip(self.committed, hypothesis[:place], strict=True)
            ]
        return tuple(hypothesis[place:])

    def _without_repetition(self, hypothesis: Sequence[Piece]) -> Sequence[Piece]:
        """Drop what was said before the cut, and is heard once more because the cut was not quite between two words."""
        if self.committed or not self.settled:
            return hypothesis
        before_s = self.settled[-1].end_s + _REPEATED_S
        for count in range(min(_REPEATED, len(self.settled), len(hypothesis)), 0, -1):
            again = hypothesis[:count]
            same = [piece.key for piece in again] == [piece.key for piece in self.settled[-count:]]
            # Times tell an echo of the last word from its being said twice: an echo has hardly any room.
            if same and again[-1].end_s <= min(before_s, self.settled[-1].end_s + 0.15 * count):
                return hypothesis[count:]
        return hypothesis


def written(pieces: Sequence[Piece]) -> str:
    """Return the text of pieces, without the space before the first."""
    return "".join(piece.text for piece in pieces).strip()


def matching_prefix(known: Sequence[str], heard: Sequence[str]) -> int:
    """Return how much of ``heard`` says what ``known`` says: the prefix with the fewest edits.

    Of equals it is one that ends with the same word, else the nearest.

    Committed words stand even where the next hypothesis has others in their place.
    """
    row = list(range(len(heard) + 1))
    for done, word in enumerate(known, start=1):
        previous, row = row, [done]
        for place, other in enumerate(heard, start=1):
            row.append(min(previous[place - 1] + (word != other), previous[place] + 1, row[-1] + 1))
    ending = [bool(known) and place > 0 and heard[place - 1] == known[-1] for place in range(len(row))]
    return min(range(len(row)), key=lambda place: (row[place], not ending[place], abs(place - len(known))))


def _common(earlier: Sequence[Piece], later: Sequence[Piece]) -> int:
    count = 0
    while count < min(len(earlier), len(later)) and earlier[count].key == later[count].key:
        count += 1
    return count
