"""How people write, in every script: where sentences end, what a word is, which scripts put no spaces between words."""

import re
import unicodedata
from collections.abc import Iterable, Iterator

SPACED_ENDS = ".!?…"
"""End a sentence where white space follows: a full stop inside a number or a name does not."""
OTHER_ENDS = "。！？｡।॥؟۔։።፧။។༎‼⁇⁈⁉"
"""End a sentence whatever follows: of Chinese and Japanese, Devanagari and its relatives, Arabic, Urdu, Armenian,
Ethiopic, Burmese, Khmer and Tibetan."""
SENTENCE_ENDS = frozenset(SPACED_ENDS + OTHER_ENDS)
"""The one set: whoever asks whether a word or a text ends a sentence asks this."""

UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese: their words are taken as pairs of characters."""

_WIDE_SIGNS = r"\u3000-\u303f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
_CHINESE_OR_JAPANESE = rf"{_WIDE_SIGNS}\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Their letters, and their signs, which are as wide and hold the space that stands beside them."""

_BEFORE_MARKS, _AFTER_MARKS = 0x0300, 0x10000


def _marks() -> Iterator[str]:
    """Yield the ranges of combining marks, for a character class: ``\\w`` knows the vowel signs of no script."""
    first = previous = -2
    for code in range(_BEFORE_MARKS, _AFTER_MARKS):
        if not unicodedata.category(chr(code)).startswith("M"):
            continue
        if code != previous + 1:
            if first >= 0:
                yield f"\\u{first:04x}-\\u{previous:04x}"
            first = code
        previous = code
    yield f"\\u{first:04x}-\\u{previous:04x}"


MARKS = "".join(_marks())

TERMS = re.compile(rf"[{UNSPACED}]+|(?:[^\W{UNSPACED}](?:(?![{UNSPACED}])[{MARKS}])*)+")
"""Runs of characters of scripts without spaces, and words of the others."""
WORDS = re.compile(rf"\w[\w{MARKS}]*")
_IS_UNSPACED = re.compile(rf"[{UNSPACED}]")
_BETWEEN_SENTENCES = re.compile(rf"[{_WIDE_SIGNS}].|.[{_WIDE_SIGNS}]|[{_CHINESE_OR_JAPANESE}]{{2}}", re.DOTALL)
_BETWEEN_WORDS = re.compile(rf"[{_WIDE_SIGNS}].|.[{_WIDE_SIGNS}]|[{_CHINESE_OR_JAPANESE}{UNSPACED}]{{2}}", re.DOTALL)
"""Two characters between which no space stands."""
_PIECES = re.compile(rf"[{UNSPACED}]{{1,2}}[^\w\s{MARKS}]*|[^\s{UNSPACED}]+")


def holds_unspaced(text: str) -> bool:
    """Say whether a text has characters of a script that is written without spaces."""
    return _IS_UNSPACED.search(text) is not None


def is_unspaced(term: str) -> bool:
    """Say whether one of the ``TERMS`` is a run of characters without spaces."""
    return _IS_UNSPACED.match(term) is not None


def find_pieces(text: str) -> Iterator[re.Match[str]]:
    """Yield the words of a text with the marks around them; of writing without spaces, two characters at a time."""
    return _PIECES.finditer(text)


def ends_sentence(text: str) -> bool:
    """Say whether the last character of a word or text ends a sentence."""
    return text[-1:] in SENTENCE_ENDS and bool(text)


def space_between(before: str, after: str, *, words: bool = False) -> str:
    """Return what stands between two pieces of a text: a space, or nothing in Chinese and Japanese.

    ``words``: the pieces are words, between which Thai, Lao, Burmese and Khmer have no space either; between their
    sentences they have one.
    """
    unspaced = _BETWEEN_WORDS if words else _BETWEEN_SENTENCES
    return "" if not before or not after or unspaced.match(before[-1] + after[0]) else " "


def join_texts(texts: Iterable[str], *, words: bool = False) -> str:
    """Join pieces of a text as their scripts do (``space_between``), with single spaces inside; skip empty ones.

    The one place where a text is made of pieces.
    """
    joined: list[str] = []
    for text in texts:
        if piece := " ".join(text.split()):
            joined += [space_between(joined[-1], piece, words=words) if joined else "", piece]
    return "".join(joined)
