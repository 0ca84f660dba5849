"""Citations taken out of an answer while it streams, checked, and put back as plain numbers."""

import re
from collections.abc import Mapping, Sequence

from pipelines.domain.answer import Citation, Source
from pipelines.domain.passage import Passage, TextSpan
from pipelines.steps.resolve_citations import cite, find_quote, support

_OPENING = re.compile(r"\s*\[")
_TAIL = re.compile(r"\s*$")
_MARKER = re.compile(
    r"""\s*\[\s*(?P<numbers>\d+(?:\s*,\s*\d+)*)\s*
    (?:\]|[:,]?\s*["“”«](?P<quote>.*?)["“”»]\s*\]|:\s*(?P<bare>[^\]"“«]+)\])""",
    re.VERBOSE | re.DOTALL,
)
_UNFINISHED = re.compile(r"\s*\[\s*(?:\d[^\]]*|\d+\s*[:,]?\s*[\"“”«].*)?$", re.DOTALL)
_LONGEST_MARKER = 600
_CLAIM = re.compile(r"[^.?!…。？！]*[.?!…。？！]*\s*$")


class CitationMarker:
    """Reads ``[2: "exact words"]`` and ``[2]`` in what a model writes, and writes ``[1]``, ``[2]`` … in their place.

    A citation that names no source, or words that are not in it, is left out and counted. One without words gets the
    sentence of its source that supports the statement in front of it, and counts as wrong where there is none.
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
        shown = ""
        while self._held:
            opening = _OPENING.search(self._held)
            if opening is None:
                tail = _TAIL.search(self._held)
                cut = tail.start() if tail else len(self._held)
                return shown + self._show(cut)
            shown += self._show(opening.start())
            marker = _MARKER.match(self._held)
            if marker is not None:
                self._held = self._held[marker.end() :]
                shown += self._written_as(marker)
            elif len(self._held) < _LONGEST_MARKER and _UNFINISHED.match(self._held):
                return shown
            else:
                shown += self._show(self._held.index("[") + 1)
        return shown

    def finish(self) -> str:
        """Return what was held back: nothing more will come, so it is no citation."""
        return self._show(len(self._held))

    def _show(self, count: int) -> str:
        shown, self._held = self._held[:count], self._held[count:]
        self._written += shown
        return shown

    def _written_as(self, marker: re.Match[str]) -> str:
        quote = marker.group("quote") or marker.group("bare")
        numbers = [self._check(int(number), quote) for number in marker.group("numbers").split(",")]
        kept = list(dict.fromkeys(number for number in numbers if number is not None))
        self.removed += numbers.count(None)
        space = marker.group()[: len(marker.group()) - len(marker.group().lstrip())]
        text = space + "".join(f"[{number}]" for number in kept) if kept else ""
        self._written += text
        return text

    def _check(self, number: int, quote: str | None) -> int | None:
        source = self._sources.get(number)
        if source is None:
            return None
        for passage in (source.hit.passage, *source.passages):
            span = find_quote(quote, passage.text) if quote else support(self._claim(), passage.text)
            if span is not None:
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
        plain = re.sub(r"\s*\[\d+\]", "", self._written)
        found = _CLAIM.search(plain)
        return found.group() if found else plain
