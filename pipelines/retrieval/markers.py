"""What stands between the brackets of a citation as models write it: numbers of sources, and words quoted from them.

[2]  [1, 2]  [1-3]  [2: "exact words"]  [2 „exact words“]  [1: "some"; 2: "others"]  [Source 2]  【2】  【2†talk.wav】
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

OPENING = "[【"
CLOSING = {"[": "]", "【": "】"}
_WORDS = ("sources", "passages", "quellen", "source", "passage", "quelle", "fuente", "fonte", "bron")
_MOST_NUMBERS = 20
_BEGIN, _END = "\"“”„«»‚‘’'「『", "\"“”«»‘’'」』"
_SPACE = re.compile(r"\s*")
_NUMBERS = re.compile(r"(\d{1,4})(?:\s*[-–—]\s*(\d{1,4}))?(?!\d)")
_BETWEEN = re.compile(r"\s*(?:[,;&/]|\b(?:and|und|et|y|e|en)\b)\s*")
_BEFORE_WORDS = re.compile(r"\s*[:,]?\s*(?=[" + re.escape(_BEGIN) + "])|\\s*:\\s*")
_QUOTED = re.compile(
    f"[{re.escape(_BEGIN)}](?P<words>.*?)[{re.escape(_END)}](?=\\s*(?:$|[,;]\\s*(?:\\d|[{re.escape(_BEGIN)}])))",
    re.DOTALL,
)
_AFTER_NUMBER = re.compile(rf"\s*(?:$|[:,;&/†\-–—{re.escape(_BEGIN)}]|(?:and|und|et|y|e|en)\b\s*(?:\d|$)|(?:an?|un?)$)")


@dataclass(frozen=True, slots=True)
class Cited:
    """Some numbers, and what is quoted from each of them; no words: the statement in front is meant."""

    numbers: tuple[int, ...]
    quotes: tuple[str, ...] = ()


def read_marker(inside: str) -> tuple[Cited, ...] | None:
    """Read what stands between two brackets; None where that is no citation."""
    place = _skip_word(inside)
    found: list[Cited] = []
    while True:
        numbers, place = _read_numbers(inside, place)
        if not numbers:
            return None
        quotes, place = _read_quotes(inside, place)
        found.append(Cited(numbers, quotes))
        place = _skip(inside, place)
        if place == len(inside) or inside[place] == "†":
            return tuple(found)
        between = _BETWEEN.match(inside, place)
        if between is None:
            return None
        place = between.end()


def is_open(inside: str) -> bool:
    """Say whether a quote has begun that has not ended yet, so that a bracket may belong to it."""
    begun = _BEFORE_WORDS.search(inside)
    if begun is None or begun.end() == len(inside) or inside[begun.end()] not in _BEGIN:
        return False
    return not inside.rstrip().endswith(tuple(_END)) or not inside[begun.end() + 1 :].strip()


def may_become_marker(inside: str) -> bool:
    """Say whether what stands after an opening bracket so far can be the beginning of a citation."""
    rest = inside.lstrip().casefold()
    unfinished = any(word.startswith(rest) for word in _WORDS) or _skip_word(inside) == len(inside)
    return unfinished or begins_marker(inside)


def begins_marker(inside: str) -> bool:
    """Say whether it begins as a citation does: with a number and then nothing, a mark, another number or a quote."""
    numbers = _NUMBERS.match(inside, _skip_word(inside))
    return numbers is not None and _AFTER_NUMBER.match(inside, numbers.end()) is not None


def _skip_word(inside: str) -> int:
    place = _skip(inside, 0)
    folded = inside[place : place + 12].casefold()
    word = next((word for word in _WORDS if folded.startswith(word)), "")
    return _skip(inside, place + len(word))


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _read_numbers(inside: str, place: int) -> tuple[tuple[int, ...], int]:
    """Read ``1, 2-4``, up to where something else begins."""
    numbers: list[int] = []
    while match := _NUMBERS.match(inside, place):
        numbers.extend(_range(match))
        place = match.end()
        between = _BETWEEN.match(inside, place)
        if between is None or not _NUMBERS.match(inside, between.end()):
            break
        place = between.end()
    return tuple(numbers), place


def _range(match: re.Match[str]) -> Iterator[int]:
    first, last = int(match.group(1)), int(match.group(2) or match.group(1))
    yield from range(first, last + 1) if first <= last < first + _MOST_NUMBERS else (first, last)


def _read_quotes(inside: str, place: int) -> tuple[tuple[str, ...], int]:
    """Read ``: "some", "others"``, or what follows a colon without marks."""
    before = _BEFORE_WORDS.match(inside, place)
    if before is None:
        return (), place
    quotes: list[str] = []
    place = before.end()
    while match := _QUOTED.match(inside, place):
        quotes.append(match.group("words"))
        place = match.end()
        between = _BETWEEN.match(inside, place)
        if between is None or not _QUOTED.match(inside, between.end()):
            break
        place = between.end()
    if quotes:
        return tuple(quotes), place
    return (inside[place:].strip(),), len(inside)
