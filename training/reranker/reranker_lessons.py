"""What a small reranker is taught: talks about other matters than the benchmark's, and questions with their passages.

The sentences and questions (``reranker_facts``) were written without a look at ``retrieval_corpus``; a test compares
both.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.retrieval_corpus import Fact, FactSource, Question, make_talks
from bench.retrieval_training import CITIES, GOODS, NAMES
from bench.temporary_store import temporary_store
from pipelines.domain.passage import Hit, SearchRequest
from pipelines.ports.models import Embedder
from pipelines.retrieval.indexing import index_transcript
from pipelines.retrieval.search import RERANK_CANDIDATES, search_passages

FACTS = Path(__file__).parent / "reranker_facts"
_MORE_NAMES = """
Ahlberg Baptiste Calderon Dragovic Engel Fontaine Gallo Hoffman Iversen Jimenez Kaplan Lombardi Mendez Nguyen Orlov
Pavlova Reyes Sato Thomsen Urban Vogel Whitaker Yates Zimmer Arslan Brandt Chowdhury Drake Esposito Farouk
"""
PEOPLE = (*NAMES, *_MORE_NAMES.split())
TALKS = 24
HARD, EASY = 5, 3
"""Wrong passages that a question is shown: the best that search found, and any others of its candidates."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A question, what somebody said, and how well that answers it, from 0 to 1."""

    question: str
    text: str
    score: float


def read_facts(name: str) -> list[list[str]]:
    """Return the lines of one file, cut at its tabs."""
    lines = (FACTS / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines]


def lesson_facts(draw: random.Random) -> Iterator[Fact]:
    """Yield all paraphrases, and for every person a few things said of them, in forms drawn anew."""
    for said, question in read_facts("paraphrases"):
        yield Fact(said=said, question=question, slice="paraphrases")
    of_names, of_numbers, of_context = (_dealt(read_facts(name), draw) for name in ("names", "numbers", "context"))
    for name in PEOPLE:
        filled = _Blanks(name, draw)
        for _ in range(3):
            said, question = filled.fill(next(of_names))
            yield Fact(said=said, question=question, slice="names")
        said, question = filled.fill(next(of_numbers))
        yield Fact(said=said, question=question, slice="numbers")
        before, said, question = filled.fill(next(of_context))
        yield Fact(before=before, said=said, question=question, slice="context")


class _Blanks:
    """Fills the blanks of forms that speak of one person."""

    def __init__(self, name: str, draw: random.Random) -> None:
        self._name, self._draw = name, draw

    def fill(self, form: Sequence[str]) -> list[str]:
        """Return the parts of a form, the same words in each."""
        words = {
            "name": self._name,
            "city": self._draw.choice(CITIES),
            "thing": self._draw.choice(GOODS),
            "number": self._draw.randrange(20, 99_999),
            "day": self._draw.randrange(1, 28),
        }
        return [part.format(**words) for part in form]


def _dealt(forms: list[list[str]], draw: random.Random) -> Iterator[list[str]]:
    """Yield the forms in a new order, again and again."""
    while True:
        yield from draw.sample(forms, k=len(forms))


async def likeness_lessons(embedder: Embedder, count: int, *, seed: int) -> list[Lesson]:
    """Return pairs of a question and a sentence, scored by the cosine of their embeddings: what an embedder knows.

    Half of the sentences are among the nearest to the question, and half of the questions are sentences themselves.
    """
    draw = random.Random(seed)
    facts = list(lesson_facts(draw))
    said = list(dict.fromkeys(fact.said for fact in facts))
    queries = [*dict.fromkeys(fact.question for fact in facts), *said]
    cosines = await _vectors(embedder, queries) @ (await _vectors(embedder, said)).T
    each = max(2, count // len(queries))
    lessons = list[Lesson]()
    for query, row in zip(queries, cosines, strict=True):
        ranked = np.argsort(-row).tolist()
        chosen = [*draw.sample(ranked[: each * 2], k=each // 2), *draw.sample(ranked, k=each - each // 2)]
        lessons += [Lesson(query, said[place], _as_score(float(row[place]))) for place in chosen]
    draw.shuffle(lessons)
    return lessons[:count]


async def _vectors(embedder: Embedder, texts: Sequence[str]) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    return np.array([vector.dense for vector in await embedder.embed_passages(texts)], dtype=np.float32)


def _as_score(cosine: float) -> float:
    """Spread the cosines that occur, about 0 to 0.9, over 0 to 1."""
    return min(max((cosine - 0.05) / 0.8, 0.0), 1.0)


async def answer_lessons(
    embedder: Embedder, deals: int, *, seed: int, source: FactSource = lesson_facts
) -> list[Lesson]:
    """Return questions with the passages that search finds for them: 1 for those that answer, 0 for the others."""
    lessons = list[Lesson]()
    for deal in range(deals):
        talks, questions = make_talks(TALKS, seed=seed + deal, source=source)
        draw = random.Random(seed + deal)
        async with temporary_store() as store:
            for talk in talks:
                recording = f"{talk.job_id}.wav"
                await index_transcript(embedder, store, "lessons", "talks", talk.job_id, recording, talk.transcript)
            for question in questions:
                if question.job_id is None:
                    continue  # the benchmark's own negatives
                request = SearchRequest(query=question.text, collections=("talks",), top_k=RERANK_CANDIDATES)
                found = await search_passages(embedder, store, "lessons", request)
                lessons += _judged(question, found.hits, draw)
        print(f"  deal {deal + 1} of {deals}: {len(lessons)} lessons", flush=True)
    random.Random(seed).shuffle(lessons)
    return lessons


def _judged(question: Question, hits: Sequence[Hit], draw: random.Random) -> list[Lesson]:
    """Pair a question with right and wrong passages; one that holds a part of the answer is neither."""
    shares = [_share(question, hit) for hit in hits]
    right = [hit for hit, share in zip(hits, shares, strict=True) if share > 0.5]
    wrong = [hit for hit, share in zip(hits, shares, strict=True) if share == 0]
    shown = [*wrong[:HARD], *draw.sample(wrong[HARD:], k=min(EASY, len(wrong[HARD:])))]
    return [
        *(Lesson(question.text, hit.passage.text, 1.0) for hit in right),
        *(Lesson(question.text, hit.passage.text, 0.0) for hit in shown),
    ]


def _share(question: Question, hit: Hit) -> float:
    """Return how much of the answering moment a passage holds."""
    if question.job_id is None or hit.passage.job_id != question.job_id:
        return 0.0
    overlap = min(hit.passage.end_s, question.end_s) - max(hit.passage.start_s, question.start_s)
    return max(overlap, 0.0) / (question.end_s - question.start_s)
