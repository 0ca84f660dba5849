"""Where a query's words stand in a passage."""

import re

from pipelines.domain.passage import TextSpan
from pipelines.steps.weigh_words import split_terms

_ENGLISH = """
a about an and are as at be been by can did do does for from had has have how i if in is it its me my of on or our she
he so that the their them then there they this to was we were what when where which who why will with would you your
"""
_FUNCTION_WORDS = frozenset(_ENGLISH.split())
"""English words that nobody looks for; marking them would hide the ones that matter."""


def find_highlights(query: str, text: str) -> tuple[TextSpan, ...]:
    """Return the words of ``text`` that the query asks for, as character offsets, sorted.

    Words are compared as the sparse vectors compare them (case, plural), function words are left out, and words of
    the query's that follow each other with only a space between them make one span.
    """
    wanted = frozenset(term for term in split_terms(query) if term not in _FUNCTION_WORDS)
    spans: list[TextSpan] = []
    for match in re.finditer(r"[\w'’]+", text):
        if wanted.isdisjoint(split_terms(match.group())):
            continue
        if spans and text[spans[-1].end : match.start()] == " ":
            spans[-1] = TextSpan(start=spans[-1].start, end=match.end())
        else:
            spans.append(TextSpan(start=match.start(), end=match.end()))
    return tuple(spans)
