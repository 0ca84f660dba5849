"""What can be done for readability without a model: fillers out, words said twice once, capitals and a full stop."""

import re

_FILLER = re.compile(r"(?:(?<=^)|(?<=\s))(?:u+m+|u+h+|e+r+m+|hmm+|mhm+)\b[,.]?\s*", re.IGNORECASE)
_TWICE = re.compile(r"\b(\w+)(?:\s+\1\b)+", re.IGNORECASE)
_OFTEN_TWICE = frozenset({"that", "had", "very", "bye", "no", "yes", "so", "ha"})
_SENTENCE_START = re.compile(r"(?:^|(?<=[.!?]\s))[a-zà-öø-ÿ]")
_LONE_I = re.compile(r"\bi\b(?=$|[\s',.!?])")


def tidy_text(text: str, *, language: str = "en") -> str:
    """Return the same words in the same order, tidied; empty where there was nothing but fillers."""
    tidied = _FILLER.sub("", " ".join(text.split()))
    tidied = _TWICE.sub(_once, tidied).strip()
    if language == "en":
        tidied = _LONE_I.sub("I", tidied)
    tidied = _SENTENCE_START.sub(lambda match: match.group().upper(), tidied)
    return tidied if not tidied or not tidied[-1].isalnum() else f"{tidied}."


def _once(match: re.Match[str]) -> str:
    word = match.group(1)
    return match.group() if word.lower() in _OFTEN_TWICE or word.isdigit() else word
