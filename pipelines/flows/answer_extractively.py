"""An answer made of the recordings' own sentences."""

from collections.abc import Sequence

import numpy as np

from pipelines.domain.answer import Citation, Source
from pipelines.flows.chat_ports import ChatOptions
from pipelines.ports import Embedder
from pipelines.steps.pick_answer import candidate_sentences, pick_answer


async def answer_extractively(
    embedder: Embedder, question: str, sources: Sequence[Source], options: ChatOptions
) -> tuple[str, tuple[Citation, ...]]:
    """Return the sentences nearest to the question, and their citations. Raises what the embedder raises."""
    candidates = candidate_sentences(sources, limit=options.extractive_candidates)
    asked = await embedder.embed_query(question)
    vectors = await embedder.embed_passages([candidate.text for candidate in candidates])
    similarities = [float(np.dot(asked.dense, vector.dense)) for vector in vectors]
    return pick_answer(
        question,
        candidates,
        similarities,
        sentences=options.extractive_sentences,
        within=options.extractive_within,
    )
