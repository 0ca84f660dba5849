"""Citations checked against the passages that were retrieved, in a text that is still being written."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from pipelines.domain.answer import Citation, Source
from pipelines.domain.passage import Passage, SpokenSpan, TextSpan
from pipelines.domain.writing import MARKS, ends_sentence, holds_unspaced
from pipelines.language.text import sentence_bounds
from pipelines.retrieval.markers import CLOSING, OPENING, begins_marker, is_open, may_become_marker, read_marker
from pipelines.retrieval.words import claim_terms

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


LEAST_SUPPORT = Fraction(1, 3)
"""Share of what a statement says that a sentence must have to support it: of three things listed, one."""

_WORD = re.compile(rf"\w[\w{MARKS}]*(?:['’]\w[\w{MARKS}]*)*")


def find_quote(quote: str, text: str) -> TextSpan | None:
    """Return where the quote's words stand in ``text``, one after another; None where they do not.

    Case, punctuation, apostrophes and the width of characters do not count; every word does. In scripts without spaces
    characters are compared, and white space does not count either. A quote without words is found nowhere.
    """
    wanted = [_folded(match.group()) for match in _WORD.finditer(quote)]
    if not wanted:
        return None
    words = list(_WORD.finditer(text))
    there = [_folded(word.group()) for word in words]
    for start in range(len(there) - len(wanted) + 1):
        if there[start : start + len(wanted)] == wanted:
            return _with_punctuation(text, words[start].start(), words[start + len(wanted) - 1].end())
    return _find_unspaced(quote, text) if holds_unspaced(quote) else None


def support(claim: str, texts: Sequence[str]) -> tuple[int, TextSpan] | None:
    """Return which text has the sentence that shares most with the claim, and where it stands there.

    None where no sentence has ``LEAST_SUPPORT`` of the claim's terms. Of equals the first one counts.
    """
    wanted = claim_terms(claim)
    best: tuple[int, TextSpan] | None = None
    most = max(1, -(-len(wanted) * LEAST_SUPPORT.numerator // LEAST_SUPPORT.denominator)) - 1
    for place, text in enumerate(texts):
        for span in split_spans(text):
            shared = len(wanted & claim_terms(text[span.start : span.end]))
            if shared > most:
                best, most = (place, span), shared
    return best


def split_spans(text: str) -> tuple[TextSpan, ...]:
    """Return the sentences of a text as character offsets, without the white space around them."""
    return tuple(TextSpan(start=start, end=end) for start, end in sentence_bounds(text))


def cite(passage: Passage, span: TextSpan, *, collection: str, n: int) -> Citation:
    """Return the citation of some characters of a passage, with the time and the speaker of just these."""
    start_s, end_s, speaker = when_and_who(passage, span)
    return Citation(
        n=n,
        job_id=passage.job_id,
        collection=collection,
        passage_id=passage.passage_id,
        recording=passage.recording,
        start_s=start_s,
        end_s=end_s,
        speaker=speaker,
        quote=passage.text[span.start : span.end],
        revision=passage.revision,
    )


def when_and_who(passage: Passage, span: TextSpan) -> tuple[float, float, str | None]:
    """Return when the characters are said and by whom: interpolated inside spans; else what the passage knows."""
    said = [spoken for spoken in passage.spans if spoken.start < span.end and spoken.end > span.start]
    if not said:
        return passage.start_s, passage.end_s, passage.speakers[0] if len(passage.speakers) == 1 else None
    speaker = max(said, key=lambda spoken: min(spoken.end, span.end) - max(spoken.start, span.start)).speaker
    return round(_time_at(said[0], span.start), 2), round(_time_at(said[-1], span.end), 2), speaker


def _time_at(spoken: SpokenSpan, offset: int) -> float:
    share = (offset - spoken.start) / max(1, spoken.end - spoken.start)
    return spoken.start_s + min(max(share, 0.0), 1.0) * (spoken.end_s - spoken.start_s)


def _folded(word: str) -> str:
    return re.sub(r"['’]", "", unicodedata.normalize("NFKC", word).casefold())


def _with_punctuation(text: str, start: int, end: int) -> TextSpan:
    """Take the full stop along that ends the quoted sentence."""
    return TextSpan(start=start, end=end + ends_sentence(text[end : end + 1]))


def _find_unspaced(quote: str, text: str) -> TextSpan | None:
    """Find a run of characters where words cannot be told apart; a word of letters at its ends must be a whole one."""
    wanted = "".join(character for character, _ in _letters(quote))
    if len(wanted) < 2:
        return None
    letters = list(_letters(text))
    there = "".join(character for character, _ in letters)
    found = there.find(wanted)
    while found >= 0:
        start, end = letters[found][1], letters[found + len(wanted) - 1][1] + 1
        if not _inside_word(text, start) and not _inside_word(text, end):
            return _with_punctuation(text, start, end)
        found = there.find(wanted, found + 1)
    return None


def _letters(text: str) -> Iterator[tuple[str, int]]:
    """Yield letters, digits and their marks as they are compared, each with the place where it comes from."""
    for place, original in enumerate(text):
        for character in unicodedata.normalize("NFKD", original).casefold():
            if character.isalnum() or unicodedata.category(character).startswith("M"):
                yield character, place


def _inside_word(text: str, place: int) -> bool:
    """Say whether a place lies between two characters of one word, in a script that has spaces."""
    beside = text[max(0, place - 1) : place + 1]
    return len(beside) == 2 and beside.isalnum() and not any(map(holds_unspaced, beside))
