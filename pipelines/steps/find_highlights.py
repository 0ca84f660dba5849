"""Where a query's words stand in a passage."""

import re
import unicodedata
from collections.abc import Iterator

from pipelines.domain.passage import TextSpan
from pipelines.steps.weigh_words import content_terms, split_terms
from pipelines.steps.written_words import MARKS, TERMS, is_unspaced

_APOSTROPHE = re.compile(rf"['’]\w[\w{MARKS}]*")


def find_highlights(query: str, text: str) -> tuple[TextSpan, ...]:
    """Return the words of ``text`` that the query asks for, as character offsets, sorted.

    Words are compared as the sparse vectors compare them (case, plural; pairs of characters where a script has no
    spaces), function words are left out, and words that follow each other with at most a space between them make one
    span.
    """
    wanted = content_terms(query)
    spans: list[TextSpan] = []
    for start, end in _found(wanted, text):
        if spans and text[spans[-1].end : start] in ("", " "):
            spans[-1] = TextSpan(start=spans[-1].start, end=end)
        else:
            spans.append(TextSpan(start=start, end=end))
    return tuple(spans)


def _found(wanted: frozenset[str], text: str) -> Iterator[tuple[int, int]]:
    ends = 0
    for match in TERMS.finditer(text):
        start, end = match.span()
        if start < ends:  # the other half of a word with an apostrophe
            continue
        if is_unspaced(match.group()):
            yield from _pairs(wanted, text, start, end)
            continue
        while apostrophe := _APOSTROPHE.match(text, end):
            end = apostrophe.end()
        ends = end
        if not wanted.isdisjoint(split_terms(text[start:end])):
            yield start, end


def _pairs(wanted: frozenset[str], text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs of characters that are asked for, without what the pair before has already."""
    done = start
    for place in range(start, max(start + 1, end - 1)):
        last = min(place + 2, end)
        if unicodedata.category(text[place]).startswith("M"):
            continue  # a mark goes with the character before it
        if not wanted.isdisjoint(split_terms(text[place:last])):
            yield max(place, done), last
            done = last
