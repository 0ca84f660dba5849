"""Where a query's words stand in a passage."""

import re

from pipelines.domain.passage import TextSpan
from pipelines.steps.weigh_words import content_terms, split_terms


def find_highlights(query: str, text: str) -> tuple[TextSpan, ...]:
    """Return the words of ``text`` that the query asks for, as character offsets, sorted.

    Words are compared as the sparse vectors compare them (case, plural), function words are left out, and words of
    the query's that follow each other with only a space between them make one span.
    """
    wanted = content_terms(query)
    spans: list[TextSpan] = []
    for match in re.finditer(r"[\w'’]+", text):
        if wanted.isdisjoint(split_terms(match.group())):
            continue
        if spans and text[spans[-1].end : match.start()] == " ":
            spans[-1] = TextSpan(start=spans[-1].start, end=match.end())
        else:
            spans.append(TextSpan(start=match.start(), end=match.end()))
    return tuple(spans)
