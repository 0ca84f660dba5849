"""Which sentences carry a text: degree centrality among sentence vectors (LexRank, Erkan & Radev 2004)."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.domain.understanding import Sentence

_WORD = re.compile(r"\w+")
_SIMILAR = 0.1
_FULL_LENGTH_WORDS = 8
"""Shorter sentences ("thank you very much") are near everything and say nothing: they are marked down."""
_QUESTION = 0.5
"""A question is about what matters, but the answer says it."""
_REDUNDANT = 0.85


def bag_of_words(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return one unit vector a text, weighted by how rare its words are: shape (texts, distinct words)."""
    bags = [Counter(word.lower() for word in _WORD.findall(text)) for text in texts]
    frequency = Counter(word for bag in bags for word in bag)
    column = {word: place for place, word in enumerate(frequency)}
    matrix = np.zeros((len(texts), max(len(column), 1)))
    for row, bag in enumerate(bags):
        for word, count in bag.items():
            matrix[row, column[word]] = count * np.log(1 + len(texts) / frequency[word])
    return unit(matrix)


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale each row to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float64] = vectors / np.where(lengths == 0, 1.0, lengths)
    return scaled


def centrality(vectors: NDArray[np.float64], sentences: Sequence[Sentence]) -> NDArray[np.float64]:
    """Return how much each sentence shares with all others, shape (sentences,), 0–1, short ones marked down."""
    similarity = np.clip(vectors @ vectors.T, 0.0, 1.0)
    similarity[similarity < _SIMILAR] = 0.0
    scores: NDArray[np.float64] = similarity.sum(axis=1) / max(len(sentences), 1) * telling(sentences)
    return scores


def telling(sentences: Sequence[Sentence]) -> NDArray[np.float64]:
    """Return how much a sentence can say by its length and form, shape (sentences,), 0–1."""
    words = np.array([len(_WORD.findall(sentence.text)) for sentence in sentences], dtype=np.float64)
    asking = np.array([sentence.text.rstrip().endswith(("?", "？")) for sentence in sentences], dtype=bool)
    shares: NDArray[np.float64] = np.minimum(words / _FULL_LENGTH_WORDS, 1.0) * np.where(asking, _QUESTION, 1.0)
    return shares


def pick_salient(scores: NDArray[np.float64], vectors: NDArray[np.float64], count: int) -> list[int]:
    """Return the indices of the best ``count`` sentences that do not repeat each other, in order of the text."""
    picked: list[int] = []
    for index in map(int, np.argsort(-scores, kind="stable")):
        if len(picked) == count:
            break
        if not picked or float(np.max(vectors[picked] @ vectors[index])) < _REDUNDANT:
            picked.append(index)
    return sorted(picked)


def keyword(text: str, texts: Sequence[str]) -> str:
    """Return the word of ``text`` that is rarest in ``texts`` and longest; the text itself where it has no word."""
    words: list[str] = [word for word in _WORD.findall(text) if len(word) > 3]
    if not words:
        return text
    everything: Counter[str] = Counter(word.lower() for other in texts for word in _WORD.findall(other))
    return max(words, key=lambda word: (len(word) / (1 + everything[word.lower()]), word))
