"""Finds things with a recognisable form by pattern: what can be found without a model, and no more than that."""

import re
from collections.abc import Iterator, Mapping, Sequence

from pipelines.domain.understanding import Entity, Sentence

_MONTH = (
    r"(?:(?:january|february|march|april|may|june|july|august|september|october|november|december)\b"
    r"|(?:jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\b\.?)"
)
_DAY = r"(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
_SMALL = "one|two|three|four|five|six|seven|eight|nine"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_TEENS = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_SPOKEN = rf"(?:(?:{_TENS})(?:[ -](?:{_SMALL}))?|{_TEENS}|{_SMALL}|hundred|thousand|million)"
_SPOKEN_NUMBER = rf"{_SPOKEN}(?:[ -](?:and )?{_SPOKEN})*"
_ORDINAL = (
    r"(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|thirteenth|fourteenth"
    r"|fifteenth|sixteenth|seventeenth|eighteenth|nineteenth|twentieth|thirtieth"
    r"|(?:twenty|thirty)[ -](?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth))"
)
_AMOUNT = rf"(?:\d[\d,.]*\d|\d|{_SPOKEN_NUMBER})"
_DIGIT_WORD = rf"(?:{_SMALL}|zero|oh)"

_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("email", r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}\b"),
        ("url", r"\b(?:https?://|www\.)[^\s<>\"']{2,200}\b|\b[a-z0-9-]{2,63}\.(?:com|org|net|edu|io)\b"),
        ("money", rf"[$€£¥]\s?\d[\d,.]*\d?\b|\b{_AMOUNT}\s(?:dollars?|euros?|pounds?|cents?|usd|eur|gbp|francs?)\b"),
        (
            "order_number",
            r"\b(?:order|ticket|case|invoice|account|reference|tracking|booking|confirmation)(?:\s+(?:number|id|code|no\.?))?"
            rf"\s+(?:is\s+|was\s+)?#?(?=\S*\d)[a-z0-9-]{{3,24}}\b|#\d{{3,16}}\b|\b(?:order|ticket|case|account|reference)"
            rf"(?:\s+number)?\s+(?:is\s+)?{_DIGIT_WORD}(?:[ -]{_DIGIT_WORD}){{2,15}}\b",
        ),
        ("phone", r"(?<![\w.])\+?\(?\d{1,4}\)?(?:[\s.-]\d{2,4}){2,4}(?![\w.]*\d)"),
        (
            "date",
            rf"\b\d{{4}}-\d{{2}}-\d{{2}}\b|\b\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}\b|\b{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?\b(?:,?\s\d{{4}})?"
            rf"|\b\d{{1,2}}(?:st|nd|rd|th)?\s(?:of\s)?{_MONTH}(?:\s\d{{4}})?\b"
            rf"|\b(?:{_ORDINAL}|end|beginning|middle)\sof\s{_MONTH}|(?<=\bin\s){_MONTH}|\b(?:next|last|this)\s(?:week|month|year|{_DAY})\b"
            rf"|\b{_DAY}\b|\b(?:tomorrow|yesterday|today|tonight)\b",
        ),
        (
            "time",
            rf"\b\d{{1,2}}:\d{{2}}(?:\s?[ap](?:\.m\.|m\b))?|\b(?:\d{{1,2}}|{_TEENS}|{_SMALL})\s?(?:[ap](?:\.m\.|m\b)|o'clock\b)|\b(?:noon|midnight)\b",
        ),
        (
            "number",
            rf"\b{_AMOUNT}\s?(?:percent\b|per cent\b|%)"
            rf"|\b\d[\d,.]*\d\b|\b\d\b|\b(?:{_TENS})(?:[ -](?:{_SMALL}))?\b|\b{_SPOKEN}(?:[ -](?:and )?{_SPOKEN})+\b",
        ),
    )
)
"""In order of preference: where two match, the earlier keeps the text."""
_NAME = re.compile(r"\b(?:[A-Z][\w'’-]+)(?:\s(?:[A-Z]\.|[A-Z][\w'’-]+|of|de|van|von)(?=\s[A-Z]|\b))*", re.UNICODE)
_FIRST_WORD = re.compile(r"[A-Z][\w'’-]+")
_COMPANY = re.compile(r"\b(?:Inc|Ltd|LLC|GmbH|AG|Corp|Company|Bank|University|Institute|Hospital|Department)\b\.?")
_PLACE_BEFORE = re.compile(r"\b(?:in|from|to|at|near)\s+$")
_PERSON_BEFORE = re.compile(r"\b(?:(?:talk|talked|spoke|spoken|speak|it|that|them|listen)\s+to|with|by)\s+$")
_NOT_NAMES = frozenset(
    """i i'm i'll i've i'd ok okay yes no hello hi thanks thank mr mrs ms dr the a an and but so well oh speaker
    monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december english then today now when while this that these those there here what why how
    who where if in on at for from to by my your our his her its we you he she they it is are was were do does did can
    could will would please let because as also not after before every some any all good dear""".split()  # noqa: SIM905 - a word list reads better as words
)


def find_entities(sentences: Sequence[Sentence]) -> tuple[Entity, ...]:
    """Return dates, times, amounts, numbers, addresses and references, and names by their capitals, in order.

    Spans never overlap. Names are found by capitals inside a sentence that is not capitalised throughout; at the start
    of a sentence, where a capital says nothing, only those that are also found elsewhere.
    """
    names = _known_names(sentences)
    return tuple(entity for sentence in sentences for entity in _in_sentence(sentence, names))


def _known_names(sentences: Sequence[Sentence]) -> dict[str, str]:
    """Return name → kind; one that is taken for several kinds is the kind that it is taken for most often."""
    taken_for: dict[str, list[str]] = {}
    for sentence in sentences:
        for start, end, kind in _names(sentence.text):
            taken_for.setdefault(sentence.text[start:end], []).append(kind)
    return {name: max(kinds, key=kinds.count) for name, kinds in taken_for.items()}


def _in_sentence(sentence: Sentence, names: Mapping[str, str]) -> list[Entity]:
    taken: list[tuple[int, int, str]] = []
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(sentence.text):
            _take(taken, match.start(), match.end(), kind)
    for start, end, _ in _names(sentence.text):
        _take(taken, start, end, names[sentence.text[start:end]])
    if (first := _FIRST_WORD.match(sentence.text)) and first.group() in names:
        _take(taken, first.start(), first.end(), names[first.group()])
    return [
        Entity(kind=kind, text=sentence.text[start:end].strip(), sentence=sentence)
        for start, end, kind in sorted(taken)
    ]


def _take(taken: list[tuple[int, int, str]], start: int, end: int, kind: str) -> None:
    if all(end <= other_start or start >= other_end for other_start, other_end, _ in taken):
        taken.append((start, end, kind))


def _names(text: str) -> Iterator[tuple[int, int, str]]:
    if text.isupper() or text.istitle():
        return
    for match in _NAME.finditer(text):
        start = match.start()
        while (first := text[start : match.end()].split(maxsplit=1)) and first[0].lower() in _NOT_NAMES:
            start = match.end() - len(first[1]) if len(first) > 1 else match.end()
        name = text[start : match.end()]
        if len(name) > 1 and (start > 0 or " " in name):
            yield start, match.end(), _kind_of_name(name, text[:start])


def _kind_of_name(name: str, before: str) -> str:
    if _COMPANY.search(name) or (name.isupper() and len(name) > 1):
        return "organization"
    person = _PERSON_BEFORE.search(before) or not _PLACE_BEFORE.search(before)
    return "person" if person else "place"
