"""An answer made of the sentences that come nearest to the question: what is said where no language model is."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.domain.answer import Citation, Source
from pipelines.domain.passage import TextSpan
from pipelines.steps.resolve_citations import cite, split_spans
from pipelines.steps.weigh_words import content_terms

_SHARED_WORD = 0.25
"""What the share of the question's content words that a sentence has adds to its cosine similarity (0–1)."""

_QUESTION = 0.3
"""What a sentence loses that asks itself: it rarely answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A sentence of a source that may be the answer."""

    source: Source
    span: TextSpan

    @property
    def text(self) -> str:
        """The sentence."""
        return self.source.hit.passage.text[self.span.start : self.span.end]


def candidate_sentences(sources: Sequence[Source], *, limit: int) -> tuple[Candidate, ...]:
    """Return the sentences of the sources, of the best ones first."""
    found = [Candidate(source=source, span=span) for source in sources for span in split_spans(source.hit.passage.text)]
    return tuple(found[:limit])


def pick_answer(
    question: str, candidates: Sequence[Candidate], similarities: Sequence[float], *, sentences: int, within: float
) -> tuple[str, tuple[Citation, ...]]:
    """Return the best sentences, best first, each with its citation.

    ``similarities``: cosine of each sentence with the question. The best sentence is always taken; others only if
    they score at most ``within`` less, and nothing is said twice.
    """
    scores = [_score(question, *pair) for pair in zip(candidates, similarities, strict=True)]
    order = sorted(range(len(candidates)), key=lambda place: -scores[place])
    order = [place for place in order if not _asks_the_same(question, candidates[place].text)] or order
    picked: list[Candidate] = []
    for place in order:
        new = candidates[place].text not in {chosen.text for chosen in picked}
        if new and len(picked) < sentences and scores[place] >= scores[order[0]] - within:
            picked.append(candidates[place])
    citations = tuple(
        cite(chosen.source.hit.passage, chosen.span, collection=chosen.source.hit.collection, n=n)
        for n, chosen in enumerate(picked, start=1)
    )
    return " ".join(f"{citation.quote} [{citation.n}]" for citation in citations), citations


def _asks_the_same(question: str, sentence: str) -> bool:
    """Say whether somebody asked this very question: the nearest sentence to it, and no answer."""
    return _asks(sentence) and content_terms(question) == content_terms(sentence)


def _asks(sentence: str) -> bool:
    return sentence.rstrip("\"'”’»」』)").endswith(("?", "？"))


def _score(question: str, candidate: Candidate, similarity: float) -> float:
    wanted = content_terms(question)
    shared = len(wanted & content_terms(candidate.text)) / len(wanted) if wanted else 0.0
    return similarity + _SHARED_WORD * shared - _QUESTION * _asks(candidate.text)
