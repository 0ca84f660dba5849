"""Where sentences begin and end in a text: stops that are part of a number, an abbreviation or a name end none."""

import re
from collections.abc import Iterator

_STOP = re.compile(r"""[.?!…]+["'”’»)\]]*(?=\s|$)|[。？！]+["'”’」』）]*""")
_WORD_BEFORE = re.compile(r"[\w.]{1,16}$")
_LETTERS_WITH_STOPS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_ORDINAL = re.compile(r"\d{1,2}")
_TITLES = """
dr mr mrs ms prof st mt messrs hon rev sen gov gen col lt sgt capt cf vs approx bzw ca evtl ggf inkl zzgl vgl sog
hr fr hrn mme mlle sig dott ing dña
"""
_NUMBERED = "no nr fig vol art sec sect abs kap p pp para ext tel n núm"
_MONTHS = "januar jänner februar märz april mai juni juli august september oktober november dezember"
_NEVER_LAST, _BEFORE_NUMBERS, _GERMAN_MONTHS = (frozenset(words.split()) for words in (_TITLES, _NUMBERED, _MONTHS))


def sentence_bounds(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each sentence, in order, without the white space around it.

    A stop ends a sentence before white space or the end of the text, and in Chinese and Japanese anywhere; not in
    "3.5", "v2.1" or "bob@example.com", after "Dr." or "J.", in "e.g. this" and "9 a.m. on Monday", nor in "am 3. Mai".
    """
    start = 0
    for stop in _STOP.finditer(text):
        if stop.group() == "." and _goes_on(text, stop.start()):
            continue
        yield from _trimmed(text, start, stop.end())
        start = stop.end()
    yield from _trimmed(text, start, len(text))


def _goes_on(text: str, stop: int) -> bool:
    """Say whether a single full stop belongs to the word before it."""
    before = _WORD_BEFORE.search(text, max(0, stop - 16), stop)
    following = text[stop + 1 : stop + 40].split(maxsplit=1)
    if before is None or not following:
        return False
    word, next_word = before.group(), following[0]
    folded = word.casefold()
    if _LETTERS_WITH_STOPS.fullmatch(word):
        return word.isupper() or not next_word[0].isupper()
    if _ORDINAL.fullmatch(word):
        return next_word[0].islower() or next_word.casefold().rstrip(".,;:?!") in _GERMAN_MONTHS
    if len(word) == 1 and word.isupper() and word != "I":
        return next_word[0].isupper()
    return folded in _NEVER_LAST or (folded in _BEFORE_NUMBERS and next_word[0].isdigit())


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    sentence = text[start:end]
    if sentence.strip():
        yield start + len(sentence) - len(sentence.lstrip()), start + len(sentence.rstrip())
