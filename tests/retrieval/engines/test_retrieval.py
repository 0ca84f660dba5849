"""The sample recordings, cut, embedded by the real model and searched in the real store: is the moment found?"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.domain.answer import ChatRequest, Message
from pipelines.domain.passage import SearchRequest
from pipelines.domain.transcript import Segment, Transcript
from pipelines.retrieval.answers import answer_question, collect_answer
from pipelines.retrieval.engines.minilm import MiniLmEmbedder
from pipelines.retrieval.indexing import index_transcript
from pipelines.retrieval.ports import ChatPorts
from pipelines.retrieval.prompts import NO_EVIDENCE
from pipelines.retrieval.search import search_passages
from pipelines.stores.qdrant.passages import QdrantPassageStore
from tests.audio.recordings import RECORDINGS

pytestmark = pytest.mark.engines

NAMES = ("biology-lecture", "project-meeting", "support-call")


@dataclass(frozen=True)
class Case:
    embedder: MiniLmEmbedder
    store: QdrantPassageStore


def script(name: str) -> Any:
    return json.loads((RECORDINGS / f"{name}.json").read_text())


def spoken(name: str) -> Transcript:
    """What is said in a sample recording, as its script has it."""
    told = script(name)
    segments = tuple(
        Segment(id=number, start_s=s["start_s"], end_s=s["end_s"], text=s["text"], speaker=s["speaker"])
        for number, s in enumerate(told["segments"])
    )
    return Transcript(language="en", duration_s=told["duration_s"], segments=segments)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    async def fill(folder: Path) -> Case:
        embedder, store = await MiniLmEmbedder.load(), await QdrantPassageStore.open(folder)
        for name in NAMES:
            await index_transcript(embedder, store, "a", "samples", name, f"{name}.ogg", spoken(name))
        return Case(embedder, store)

    made = asyncio.run(fill(tmp_path_factory.mktemp("qdrant")))
    yield made
    asyncio.run(made.store.close())
    asyncio.run(made.embedder.close())


async def test_the_moment_that_answers_is_among_the_first(case: Case) -> None:
    ranks = []
    for name in NAMES:
        for asked in script(name)["questions"]:
            request = SearchRequest(query=asked["question"], collections=("samples",), top_k=5)
            hits = (await search_passages(case.embedder, case.store, "a", request)).hits
            right = [
                hit.passage.job_id == name and hit.passage.start_s <= asked["start_s"] + 0.5 < hit.passage.end_s
                for hit in hits
            ]
            ranks.append(right.index(True) + 1 if any(right) else None)
    assert sum(rank is not None for rank in ranks) >= 0.9 * len(ranks)
    assert sum(rank == 1 for rank in ranks) >= 0.6 * len(ranks)


async def test_an_answer_plays_the_moment_it_cites(case: Case) -> None:
    ports = ChatPorts(embedder=case.embedder, passages=case.store)
    asked = ChatRequest(messages=(Message(role="user", content="What is the order number?"),), collections=("samples",))
    answer = await collect_answer(answer_question(ports, "a", asked))
    citation = answer.citations[0]
    assert "order number" in citation.quote.lower()
    assert citation.recording == "support-call.ogg"
    said = next(s for s in spoken("support-call").segments if "order number is" in s.text.lower())
    assert said.start_s - 0.5 <= citation.start_s <= citation.end_s <= said.end_s + 0.5
    assert citation.speaker == said.speaker


async def test_what_nobody_said_is_not_answered(case: Case) -> None:
    ports = ChatPorts(embedder=case.embedder, passages=case.store)
    asked = ChatRequest(
        messages=(Message(role="user", content="Which spices belong into a curry?"),), collections=("samples",)
    )
    assert (await collect_answer(answer_question(ports, "a", asked))).text == NO_EVIDENCE
