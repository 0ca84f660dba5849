"""Citations taken out of an answer while it streams, checked, and put back as plain numbers."""

import re
from collections.abc import Mapping, Sequence

from pipelines.domain.answer import Citation, Source
from pipelines.domain.passage import Passage, TextSpan
from pipelines.steps.read_marker import CLOSING, OPENING, begins_marker, is_open, may_become_marker, read_marker
from pipelines.steps.resolve_citations import cite, find_quote, split_spans, support

_LONGEST_MARKER = 600
_LONGEST_SPACE = 100
"""White space in front of a citation goes with it; a model that writes nothing else is not waited for."""
_LONGEST_CLAIM = 1_000
_NUMBER = re.compile(r"\s?\[\d+\]")
_ANY_OPENING = re.compile(f"[{re.escape(OPENING)}]")


class CitationMarker:
    """Reads ``[2: "exact words"]``, ``[2]`` and the like in what a model writes, and writes ``[1]``, ``[2]`` … instead.

    A citation that names no source, or words that are not in it, is left out and counted; one cut off is too.
    One without words gets the sentence of its source that supports the statement in front of it, and counts as wrong
    where there is none.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources: Mapping[int, Source] = {source.n: source for source in sources}
        self._held = ""
        self._written = ""
        self._places: dict[tuple[str, int, int], int] = {}
        self.citations: list[Citation] = []
        """Checked ones, numbered from 1 in the order in which the text points at them."""
        self.removed = 0

    def feed(self, text: str) -> str:
        """Take the next piece of the answer; return what can be shown, holding back what may become a citation."""
        self._held += text
        return self._read(ended=False)

    def finish(self) -> str:
        """Return what was held back: nothing more will come."""
        return self._read(ended=True)

    def _read(self, *, ended: bool) -> str:
        held, place, shown = self._held, 0, list[str]()
        while True:
            found = _ANY_OPENING.search(held, place)
            opening = found.start() if found else len(held)
            space = _start_of_space(held, place, opening)
            shown.append(self._wrote(held[place:space]))
            place = space
            if found is None:
                break
            closing = _closing(held, opening, ended=ended)
            waits = closing is None and not ended and len(held) - opening <= _LONGEST_MARKER
            if waits and may_become_marker(held[opening + 1 :]):
                break
            text, place = self._resolved(held, space, opening, closing)
            shown.append(self._wrote(text))
        if ended:
            shown.append(self._wrote(held[place:]))
            place = len(held)
        self._held = held[place:]
        return "".join(shown)

    def _resolved(self, held: str, space: int, opening: int, closing: int | None) -> tuple[str, int]:
        """Return what stands for a bracket with the space before it, and where reading goes on."""
        inside = held[opening + 1 : closing or opening + 1 + _LONGEST_MARKER]
        cited = read_marker(inside) if closing is not None else None
        if cited is not None and closing is not None:
            checks = [self._check(n, quote) for each in cited for n in each.numbers for quote in each.quotes or ("",)]
            kept = list(dict.fromkeys(number for number in checks if number is not None))
            self.removed += checks.count(None)
            numbers = "".join(f"[{number}]" for number in kept)
            return held[space:opening] + numbers if kept else "", closing + 1
        if closing is None and len(inside) < _LONGEST_MARKER and begins_marker(inside):
            self.removed += 1
            return "", len(held)
        return held[space : opening + 1], opening + 1

    def _wrote(self, text: str) -> str:
        if text:
            self._written = (self._written + text)[-_LONGEST_CLAIM:]
        return text

    def _check(self, number: int, quote: str) -> int | None:
        source = self._sources.get(number)
        if source is None:
            return None
        passages = (source.hit.passage, *source.passages)
        if not quote:
            supported = support(self._claim(), [passage.text for passage in passages])
            return self._number(source, passages[supported[0]], supported[1]) if supported else None
        for passage in passages:
            if span := find_quote(quote, passage.text):
                return self._number(source, passage, span)
        return None

    def _number(self, source: Source, passage: Passage, span: TextSpan) -> int:
        place = (passage.passage_id, span.start, span.end)
        if place not in self._places:
            self._places[place] = len(self.citations) + 1
            self.citations.append(cite(passage, span, collection=source.hit.collection, n=self._places[place]))
        return self._places[place]

    def _claim(self) -> str:
        """Return the sentence that was written last, without its citations."""
        plain = _NUMBER.sub("", self._written)
        spans = split_spans(plain)
        return plain[spans[-1].start : spans[-1].end] if spans else ""


def _start_of_space(text: str, place: int, end: int) -> int:
    """Return where the white space before ``end`` begins, which may go with a citation."""
    earliest = max(place, end - _LONGEST_SPACE)
    return earliest + len(text[earliest:end].rstrip())


def _closing(held: str, opening: int, *, ended: bool) -> int | None:
    """Return where the citation that begins here ends: at its bracket, or at a later one if that is inside a quote.

    None where that is not known yet, or never will be.
    """
    bracket, limit = CLOSING[held[opening]], opening + 1 + _LONGEST_MARKER
    first = place = held.find(bracket, opening, limit)
    while place >= 0:
        if _ANY_OPENING.search(held, first, place):
            return first
        if not is_open(held[opening + 1 : place]):
            return place
        place = held.find(bracket, place + 1, limit)
    known = ended or len(held) >= limit or (first >= 0 and _ANY_OPENING.search(held, first) is not None)
    return first if first >= 0 and known else None
