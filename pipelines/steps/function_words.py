"""Words that say nothing about what a sentence is about, in the languages whose claims are checked by their words."""

from collections.abc import Mapping

from pipelines.steps.weigh_words import content_terms, split_terms
from pipelines.steps.written_words import holds_unspaced

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
