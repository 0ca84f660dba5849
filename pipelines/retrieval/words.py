"""Words weighed for sparse search, and told apart from those that carry no meaning."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

from pipelines.domain.passage import SparseVector
from pipelines.domain.writing import SENTENCE_ENDS, TERMS, WORDS, holds_unspaced, is_unspaced

SATURATION = 1.2
"""BM25's k1: how soon another occurrence of the same word stops to matter."""

LENGTH_NORMALIZATION = 0.75
"""BM25's b: how much a long passage is held against its words."""

AVERAGE_WORDS = 25
"""Words of a passage of ordinary length, as ``chunk_transcript`` cuts them."""

NAME_WEIGHT = 3.0
"""How much more than another word a name or a number says about what is asked (measured: bench/README.md)."""

_APOSTROPHES = re.compile(r"['’`]")
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
        inside = bool(before) and before[-1] not in {*SENTENCE_ENDS, ":"}
        if any(map(str.isdigit, word)) or (inside and word[0].isupper()):
            found.update(split_terms(word))
    return frozenset(found)


def split_terms(text: str) -> list[str]:
    """Return the terms of a text as they are compared: case and form folded, English plurals and possessives cut."""
    folded = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text).casefold())
    return [term for match in TERMS.findall(folded) for term in _terms_of(match)]


def content_terms(text: str) -> frozenset[str]:
    """Return the terms of a text without English function words."""
    return frozenset(split_terms(text)) - _UNWEIGHED_WORDS


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


_UNWEIGHED_WORDS = frozenset(split_terms(_ENGLISH))
"""English words that say nothing about what is asked. They keep their weight in vectors, where rarity judges them."""

_LISTS: Mapping[str, str] = {
    "de": """
        aber alle als also am an auch auf aus bei bin bis da das dass dem den der des die doch du durch ein eine einem
        einen einer eines er es für gibt haben hat hatte ich ihr ihre im in ist ja kann kein keine man mehr mit muss
        nach nicht noch nur oder sehr sein seine sich sie sind so über um und uns unser vom von vor war waren was weil
        wenn werden wie wir wird wo wurde zu zum zur
    """,
    "es": """
        a al algo como con cuando de del desde donde el ella ellos en entre era es esta este está están esto fue ha hay
        han la las le les lo los más me mi muy no nos o para pero por porque que qué se ser si sí sin sobre son su sus
        también te tiene todo un una uno y ya yo
    """,
    "fr": """
        à au aux avec ce ces cette comme dans de des du elle elles en est et été être fait ils il je la le les leur lui
        mais me même mes moi mon ne nous on ont ou où par pas plus pour qu que qui sa se ses si son sont sur ta te tout
        très tu un une vous y c d j l m n s t
    """,
    "it": """
        a ai al alla anche che chi ci come con da dal dalla degli dei del della delle di dove e è gli ha hanno i il in
        io la le lei lo loro lui ma mi molto ne nel nella no noi non nostro o per perché più quando questa questo se sei
        si sono su sul tra tu tutti un una uno
    """,
    "nl": """
        aan als bij dan dat de deze die dit door een en er geen had heb hebben heeft het hij hun ik in is je kan maar me
        meer met mijn moet na naar niet nog nu of om onder ons ook op over te tot uit van voor want waren was wat we wel
        wij worden wordt ze zich zij zijn zo
    """,
    "pt": """
        a ao aos as com como da das de do dos e é ela ele eles em entre era esta este está eu foi há isso já lhe mais
        mas me mesmo muito na nas não no nos o os ou para pela pelo por porque qual quando que quem se sem ser seu sua
        são só também te tem um uma você
    """,
}
_FUNCTION_WORDS = {language: frozenset(split_terms(words)) for language, words in _LISTS.items()}


def claim_terms(text: str) -> frozenset[str]:
    """Return the terms of a text that say something: without function words, English ones and its own language's.

    The language is the one whose function words the text has more of than English ones; none of them: English.
    """
    every, content = frozenset(split_terms(text)), content_terms(text)
    if holds_unspaced(text):
        return content
    hits = {language: len(every & words) for language, words in _FUNCTION_WORDS.items()}
    language = max(hits, key=lambda name: hits[name])
    return content - _FUNCTION_WORDS[language] if hits[language] > len(every) - len(content) else content
