"""Does search find the moment? Dense, sparse and hybrid, by kind of question and by how passages are cut.

    python -m bench retrieval [--talks 24] [--deals 3] [--corpus talks recordings training check] [--cuts] [--evidence]
    python -m bench retrieval --reranker FOLDER (bge-reranker-v2-m3's, or what training.reranker.train_reranker wrote)

``talks`` and ``recordings`` are the benchmark (the talks are dealt anew several times, because with one deal a single
question of a slice weighs 0.03); ``training`` is what the fusion was tuned on, ``check`` the same facts
dealt into other talks.

Runs the product's own flows over Qdrant in memory and all-MiniLM. A few minutes on two cores; no network.
"""

import argparse
import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from bench.retrieval_corpus import Question, Talk, make_talks
from bench.retrieval_measures import measures
from bench.retrieval_recordings import sample_recordings
from bench.retrieval_training import training_facts
from bench.temporary_store import temporary_store
from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Embedding, Hit, SearchMode, SearchRequest
from pipelines.ports.models import Embedder, Reranker
from pipelines.retrieval.engines.minilm import MiniLmEmbedder
from pipelines.retrieval.engines.reranker import BgeReranker
from pipelines.retrieval.indexing import index_transcript
from pipelines.retrieval.passages import ChunkingOptions
from pipelines.retrieval.search import search_passages
from pipelines.retrieval.sources import is_evidence


@dataclass(frozen=True, slots=True)
class Way:
    """A way of searching, which is a row of the tables."""

    name: str
    mode: SearchMode
    reranker: Reranker | None = None


HYBRID = Way("hybrid", "hybrid")
WAYS: Sequence[Way] = (Way("dense", "dense"), Way("sparse", "sparse"), HYBRID)
Found = Mapping[str, Sequence[Sequence[Hit]]]
"""What each way finds for each question, by its name."""
SLICES = ("paraphrases", "names", "numbers", "context", "recordings")
CORPORA = ("talks", "recordings", "training", "check")
CUTS: Mapping[str, ChunkingOptions] = {
    "10–25 words": ChunkingOptions(target_words=10, max_words=25, min_words=5, overlap_words=0),
    "20–40 words": ChunkingOptions(target_words=20, max_words=40, min_words=8, overlap_words=0),
    "20–40 words, 10 overlap": ChunkingOptions(target_words=20, max_words=40, min_words=8, overlap_words=10),
    "30–50 words": ChunkingOptions(target_words=30, max_words=50, min_words=10, overlap_words=0),
    "30–50 words, 15 overlap": ChunkingOptions(target_words=30, max_words=50, min_words=10, overlap_words=15),
    "30–50 words, across turns": ChunkingOptions(target_words=30, max_words=50, min_words=1_000, overlap_words=0),
    "60–100 words": ChunkingOptions(target_words=60, max_words=100, min_words=15, overlap_words=0),
    "120–180 words": ChunkingOptions(target_words=120, max_words=180, min_words=30, overlap_words=0),
}
DEPTH = 10
Deal = tuple[Sequence[Talk], Sequence[Question]]


class RememberingEmbedder:
    """Embeds each text once, however often passages are cut anew."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._passages: dict[str, Embedding] = {}
        self._queries: dict[str, Embedding] = {}

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        """Embed texts that are new."""
        new = [text for text in dict.fromkeys(texts) if text not in self._passages]
        self._passages.update(zip(new, await self._embedder.embed_passages(new), strict=True))
        return tuple(self._passages[text] for text in texts)

    async def embed_query(self, text: str) -> Embedding:
        """Embed a question that is new."""
        if text not in self._queries:
            self._queries[text] = await self._embedder.embed_query(text)
        return self._queries[text]

    async def info(self) -> EmbedderInfo:
        """Say what is behind."""
        return await self._embedder.info()


async def ask_all(
    embedder: Embedder,
    talks: Iterable[Talk],
    questions: Sequence[Question],
    cut: ChunkingOptions,
    ways: Sequence[Way],
) -> tuple[int, dict[str, list[tuple[Hit, ...]]]]:
    """Index the talks cut in one way; return the number of passages, and what each way finds for each question."""
    async with temporary_store() as store:
        counts = [
            await index_transcript(
                embedder, store, "bench", "talks", talk.job_id, f"{talk.job_id}.wav", talk.transcript, options=cut
            )
            for talk in talks
        ]
        found: dict[str, list[tuple[Hit, ...]]] = {}
        for way in ways:
            found[way.name] = []
            wanted = SearchRequest(
                query="?", collections=("talks",), mode=way.mode, top_k=DEPTH, rerank=way.reranker is not None
            )
            for question in questions:
                request = replace(wanted, query=question.text)
                result = await search_passages(embedder, store, "bench", request, reranker=way.reranker)
                assert not result.degraded, result.degraded  # a row must not show another way's results
                found[way.name].append(result.hits)
        return sum(counts), found


def first_right(question: Question, hits: Sequence[Hit]) -> int | None:
    """Return the rank, from 1, of the first hit that holds most of the answering moment."""
    for rank, hit in enumerate(hits, start=1):
        overlap = min(hit.passage.end_s, question.end_s) - max(hit.passage.start_s, question.start_s)
        if hit.passage.job_id == question.job_id and overlap > (question.end_s - question.start_s) / 2:
            return rank
    return None


def by_slice(questions: Sequence[Question], found: Sequence[Sequence[Hit]]) -> dict[str, Mapping[str, float]]:
    """Return the measures of each slice, and their mean over slices."""
    ranks: dict[str, list[int | None]] = {name: [] for name in SLICES}
    for question, hits in zip(questions, found, strict=True):
        if question.slice in ranks:
            ranks[question.slice].append(first_right(question, hits))
    scored = {name: measures(of) for name, of in ranks.items() if of}
    names = next(iter(scored.values()))
    return scored | {"mean": {name: fmean(of[name] for of in scored.values()) for name in names}}


def print_ways(questions: Sequence[Question], found: Found) -> None:
    """Print a row a slice and way."""
    print("\n| questions | mode | recall@5 | MRR@10 | nDCG@10 |\n| --- | --- | --- | --- | --- |")
    tables = {way: by_slice(questions, hits) for way, hits in found.items()}
    for name in next(iter(tables.values())):
        for way, table in tables.items():
            cells = " | ".join(f"{value:.3f}" for value in table[name].values())
            print(f"| {name} | {way} | {cells} |", flush=True)


def print_evidence(questions: Sequence[Question], found: Sequence[Sequence[Hit]]) -> None:
    """Print how many questions have evidence at each threshold: all positives should, no negative should."""
    print("\n| similar | negatives with evidence | positives whose right passage counts |\n| --- | --- | --- |")
    for similar in (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6):
        negatives, positives = [], []
        for question, hits in zip(questions, found, strict=True):
            kept = [hit for hit in hits if is_evidence(question.text, hit, similar=similar, relevant=0.1)]
            if question.job_id is None:
                negatives.append(bool(kept))
            elif first_right(question, hits):
                positives.append(first_right(question, kept) is not None)
        print(f"| {similar:.2f} | {fmean(negatives):.2f} | {fmean(positives):.2f} |")


def corpus(name: str, count: int, deals: int) -> Sequence[Deal]:
    """Return talks with their questions, dealt once or several times; only the first two kinds are the benchmark."""
    if name == "recordings":
        return [sample_recordings()]
    if name == "talks":
        return [make_talks(count, seed=7 + deal) for deal in range(deals)]
    training = name == "training"
    return [make_talks(count if training else count // 2, seed=101 if training else 202, source=training_facts)]


async def ask_deals(
    embedder: Embedder, deals: Sequence[Deal], cut: ChunkingOptions, ways: Sequence[Way]
) -> tuple[int, list[Question], dict[str, list[tuple[Hit, ...]]]]:
    """Ask each deal its own questions; return the number of passages, the questions, and what each way found."""
    total, asked, found = 0, list[Question](), {way.name: list[tuple[Hit, ...]]() for way in ways}
    for talks, questions in deals:
        count, hits = await ask_all(embedder, talks, questions, cut, ways)
        total += count
        asked += questions
        for way in ways:
            found[way.name] += hits[way.name]
    return total, asked, found


async def print_cuts(embedder: Embedder, deals: Sequence[Deal]) -> None:
    """Print a row a way of cutting."""
    print("\n| passages | how many | recall@5 | MRR@10 | nDCG@10 |\n| --- | --- | --- | --- | --- |")
    for name, cut in CUTS.items():
        count, questions, found = await ask_deals(embedder, deals, cut, (HYBRID,))
        cells = " | ".join(f"{value:.3f}" for value in by_slice(questions, found[HYBRID.name])["mean"].values())
        print(f"| {name} | {count} | {cells} |", flush=True)


async def run(options: argparse.Namespace) -> None:
    """Print the tables."""
    with ExitStack() as engines:
        engine = await MiniLmEmbedder.load()
        engines.callback(engine.close)
        embedder = RememberingEmbedder(engine)
        ways = [*WAYS]
        if options.reranker:
            reranker = await BgeReranker.load(options.reranker, name=options.reranker.name)
            engines.callback(reranker.close)
            ways.append(Way("hybrid + rerank", "hybrid", reranker))
        for name in options.corpus:
            deals = corpus(name, options.talks, options.deals)
            count, questions, found = await ask_deals(embedder, deals, ChunkingOptions(), ways)
            size = f"{sum(len(talks) for talks, _ in deals)} recordings, {count} passages, {len(questions)} questions"
            print(f"\n{name}: {size}, dealt {len(deals)} times, all-MiniLM-L6-v2")
            print_ways(questions, found)
            if name == "talks" and options.evidence:
                print_evidence(questions, found[HYBRID.name])
        if options.cuts:
            await print_cuts(embedder, corpus("talks", options.talks, options.deals))


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--talks", type=int, default=24, help="recordings in a deal")
    parser.add_argument("--deals", type=int, default=3, help="how often the facts are dealt into talks")
    parser.add_argument("--corpus", nargs="+", choices=CORPORA, default=CORPORA[:2])
    parser.add_argument("--cuts", action="store_true", help="compare ways of cutting passages")
    parser.add_argument("--reranker", type=Path, help="folder of a cross-encoder; adds the rows hybrid + rerank")
    parser.add_argument("--evidence", action="store_true", help="show what the evidence thresholds let through")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
