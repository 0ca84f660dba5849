"""Fills templates from the transcript alone: what is used where there is no language model, and never silently."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.domain.model import LanguageModelInfo
from pipelines.domain.template import Template
from pipelines.domain.transcript import Transcript
from pipelines.domain.understanding import Extraction, Sentence
from pipelines.errors import ModelUnavailable, RayScribeError
from pipelines.language.entities import find_entities
from pipelines.language.extraction import Source, bag_of_words, centrality, fill, telling, unit
from pipelines.language.grounding import complete_computed
from pipelines.language.schemas import for_request
from pipelines.language.text import split_sentences
from pipelines.ports.models import Embedder

_MOST_SENTENCES = 600
"""Longer transcripts are thinned out evenly before ranking; entities are looked for in all of them."""
_LABEL_SENTENCES = 5
_SHARPNESS = 8.0
"""Cosine similarities lie close together: this much apart in the softmax makes one 0.1 better about twice as likely."""


class ExtractiveAnalyst:
    """Picks sentences by embedding centrality and cue words, and entities by pattern. Implements TranscriptAnalyst."""

    def __init__(self, embedder: Embedder | None = None) -> None:
        """Take an embedder; without one, or while it is down, sentences are compared by their words."""
        self._embedder = embedder

    async def fill(self, template: Template, transcript: Transcript, parameters: Mapping[str, object]) -> Extraction:
        """Return an answer that fits the template. Raises ModelUnavailable where the template needs a model."""
        if not template.extractive:
            raise ModelUnavailable(f"{template.id} needs a language model")
        sentences = await asyncio.to_thread(split_sentences, transcript)
        kept = _thinned(sentences)
        labels = tuple(str(label) for label in _sequence(parameters.get("labels")))
        texts = [*(sentence.text for sentence in kept), *labels]
        all_vectors, by_words = await self._embedded(texts)
        vectors, label_vectors = all_vectors[: len(kept)], all_vectors[len(kept) :]
        schema = for_request(template.schema, parameters)
        source = Source(
            sentences=kept,
            vectors=vectors,
            salience=centrality(vectors, kept),
            entities=await asyncio.to_thread(find_entities, sentences),
            speakers=transcript.speakers,
            language=transcript.language,
            timed=transcript.duration_s > 0,
        )
        answer = await asyncio.to_thread(fill, schema, _with_label(source, labels, label_vectors))
        return Extraction(
            answer=complete_computed(schema, answer if isinstance(answer, dict) else {}), by_words=by_words
        )

    async def info(self) -> LanguageModelInfo:
        """Say what stands in for a language model."""
        return LanguageModelInfo(
            backend="extractive",
            name="extractive",
            description="Picks sentences of the transcript; writes nothing of its own.",
            embedder=(await self._embedder.info()).name if self._embedder else None,
        )

    async def _embedded(self, texts: Sequence[str]) -> tuple[NDArray[np.float64], str | None]:
        """Return a vector a text, and why they are of words only, if they are."""
        if self._embedder is None or not texts:
            return await asyncio.to_thread(bag_of_words, texts), None
        try:
            embeddings = await self._embedder.embed_passages(texts)
        except RayScribeError as error:
            return await asyncio.to_thread(bag_of_words, texts), error.message
        return unit(np.array([embedding.dense for embedding in embeddings], dtype=np.float64)), None


def _thinned(sentences: tuple[Sentence, ...]) -> tuple[Sentence, ...]:
    step = len(sentences) / _MOST_SENTENCES
    if step <= 1:
        return sentences
    return tuple(sentences[int(place * step)] for place in range(_MOST_SENTENCES))


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, tuple | list) else ()


def _with_label(source: Source, labels: Sequence[str], label_vectors: NDArray[np.float64]) -> Source:
    """Choose the label whose nearest sentences are nearest."""
    if not labels or not source.sentences:
        return source
    similarity = (label_vectors @ source.vectors.T) * telling(source.sentences)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :_LABEL_SENTENCES]
    scores = np.take_along_axis(similarity, nearest, axis=1).mean(axis=1)
    likelihood = np.exp(_SHARPNESS * (scores - scores.max()))
    best = int(np.argmax(scores))
    return replace(
        source,
        label=labels[best],
        label_confidence=round(float(likelihood[best] / likelihood.sum()), 3),
        label_sentences=tuple(int(index) for index in nearest[best]),
    )
