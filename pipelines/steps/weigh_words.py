"""A sparse vector made from the words of a text, for embedders that have no lexical weights of their own.

Passages get the term-frequency half of BM25 (Robertson and Zaragoza 2009), with a fixed average length because a
passage is embedded alone; the other half, inverse document frequency, is Qdrant's ``idf`` modifier on the collection,
which knows how many passages hold a term at the moment of the search.
"""

import hashlib
import re
import unicodedata
from collections import Counter

from pipelines.domain.passage import SparseVector
from pipelines.steps.written_words import TERMS, WORDS, is_unspaced

SATURATION = 1.2
"""BM25's k1: how soon another occurrence of the same word stops to matter."""

LENGTH_NORMALIZATION = 0.75
"""BM25's b: how much a long passage is held against its words."""

AVERAGE_WORDS = 25
"""Words of a passage of ordinary length, as ``chunk_transcript`` cuts them."""

NAME_WEIGHT = 3.0
"""How much more than another word a name or a number says about what is asked (measured: bench/README.md)."""

_APOSTROPHES = re.compile(r"['’`]")
_SENTENCE_ENDS = ".?!…:"
_ENGLISH = """
a about an and are as at be been by can did do does for from had has have how i if in is it its me my of on or our he
said say so she tell that the their them then there they this to was we were what when where which who why will with
would you your
"""


def weigh_passage(text: str) -> SparseVector:
    """Return one weight a distinct term of a passage, larger for repeated terms and for shorter passages."""
    terms = split_terms(text)
    length = 1 - LENGTH_NORMALIZATION + LENGTH_NORMALIZATION * len(terms) / AVERAGE_WORDS
    return _vector(
        {
            term: count * (SATURATION + 1) / (count + SATURATION * length)
            for term, count in Counter(map(term_id, terms)).items()
        }
    )


def weigh_query(text: str) -> SparseVector:
    """Return a weight for each distinct content term of a question; for all terms where it has no others.

    Names and numbers weigh ``NAME_WEIGHT``, other terms 1.
    """
    names = telling_terms(text)
    terms = content_terms(text) or split_terms(text)
    return _vector({term_id(term): NAME_WEIGHT if term in names else 1.0 for term in terms})


def telling_terms(text: str) -> frozenset[str]:
    """Return the terms of a text that look like names or numbers: capitals inside a sentence, and digits."""
    found: set[str] = set()
    for match in WORDS.finditer(text):
        word, before = match.group(), text[: match.start()].rstrip()
        inside = bool(before) and before[-1] not in _SENTENCE_ENDS
        if any(map(str.isdigit, word)) or (inside and word[0].isupper()):
            found.update(split_terms(word))
    return frozenset(found)


def split_terms(text: str) -> list[str]:
    """Return the terms of a text as they are compared: case and form folded, English plurals and possessives cut."""
    folded = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text).casefold())
    return [term for match in TERMS.findall(folded) for term in _terms_of(match)]


def content_terms(text: str) -> frozenset[str]:
    """Return the terms of a text without English function words."""
    return frozenset(split_terms(text)) - _FUNCTION_WORDS


def term_id(term: str) -> int:
    """Return the 32-bit id of a term: a hash, so that no vocabulary has to be kept or agreed on."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest())


def _terms_of(word: str) -> list[str]:
    if is_unspaced(word):
        return [word[place : place + 2] for place in range(max(1, len(word) - 1))]
    return [_singular(word)]


def _singular(word: str) -> str:
    """Cut an English plural, as Harman's S-stemmer does (1991): too weak to be wrong in other languages."""
    if len(word) > 4 and word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("us", "ss")):
        return word[:-1]
    return word


def _vector(weights: dict[int, float]) -> SparseVector:
    indices = tuple(sorted(weights))
    return SparseVector(indices=indices, values=tuple(weights[index] for index in indices))


_FUNCTION_WORDS = frozenset(split_terms(_ENGLISH))
"""English words that say nothing about what is asked. They keep their weight in vectors, where rarity judges them."""
