"""Quotes found in passages, and passages turned into moments of a recording."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from fractions import Fraction

from pipelines.domain.answer import Citation
from pipelines.domain.passage import Passage, SpokenSpan, TextSpan
from pipelines.steps.function_words import claim_terms
from pipelines.steps.sentence_bounds import sentence_bounds
from pipelines.steps.written_words import MARKS, holds_unspaced

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
    return TextSpan(start=start, end=end + (text[end : end + 1] in (".", "?", "!", "…", "。", "？", "！")))


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
