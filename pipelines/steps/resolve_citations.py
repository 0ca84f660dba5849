"""Quotes found in passages, and passages turned into moments of a recording."""

import re
import unicodedata

from pipelines.domain.answer import Citation
from pipelines.domain.passage import Passage, SpokenSpan, TextSpan
from pipelines.steps.weigh_words import content_terms

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SENTENCE = re.compile(r"[^.?!…。？！]+(?:[.?!…]+(?=\s|$)|[。？！]|[.?!…]|$)*")


def find_quote(quote: str, text: str) -> TextSpan | None:
    """Return where the quote's words stand in ``text``, one after another; None where they do not.

    Case, punctuation, apostrophes and the width of characters do not count; every word does. A quote without words is
    found nowhere.
    """
    wanted = [_folded(match.group()) for match in _WORD.finditer(quote)]
    if not wanted:
        return None
    words = list(_WORD.finditer(text))
    there = [_folded(word.group()) for word in words]
    for start in range(len(there) - len(wanted) + 1):
        if there[start : start + len(wanted)] == wanted:
            return _with_punctuation(text, words[start].start(), words[start + len(wanted) - 1].end())
    return _find_unspaced(quote.strip(), text)


def support(claim: str, text: str) -> TextSpan | None:
    """Return the sentence of ``text`` that shares most content words with the claim; None where none shares any."""
    wanted = content_terms(claim)
    spans = split_spans(text)
    shared = [len(wanted & content_terms(text[span.start : span.end])) for span in spans]
    if not any(shared):
        return None
    return spans[max(range(len(spans)), key=lambda place: shared[place])]


def split_spans(text: str) -> tuple[TextSpan, ...]:
    """Return the sentences of a text as character offsets, without the white space around them."""
    found = []
    for match in _SENTENCE.finditer(text):
        sentence = match.group()
        start = match.start() + len(sentence) - len(sentence.lstrip())
        if sentence.strip():
            found.append(TextSpan(start=start, end=start + len(sentence.strip())))
    return tuple(found)


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
    return TextSpan(start=start, end=end + (text[end : end + 1] in (".", "?", "!", "…")))


def _find_unspaced(quote: str, text: str) -> TextSpan | None:
    """Find part of a run of characters in scripts without spaces, where words cannot be told apart."""
    if quote.isascii() or len(quote) < 2:
        return None
    start = text.find(quote)
    return TextSpan(start=start, end=start + len(quote)) if start >= 0 else None
