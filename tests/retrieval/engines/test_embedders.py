"""What only the real embedders do: meaning, and agreement with their own library."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import ModelUnavailable
from pipelines.retrieval.engines.bge import BgeEmbedder
from pipelines.retrieval.engines.minilm import MiniLmEmbedder, packaged_folder
from pipelines.retrieval.engines.reranker import BgeReranker
from tests.retrieval.engines.tiny_checkpoints import write_bge_m3, write_reranker

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def minilm() -> Iterator[MiniLmEmbedder]:
    engine = asyncio.run(MiniLmEmbedder.load())
    yield engine
    asyncio.run(engine.close())


async def test_meaning_is_found_without_shared_words(minilm: MiniLmEmbedder) -> None:
    passages = await minilm.embed_passages(
        ["The final examination takes place on Monday.", "Mitochondria make energy.", "The train was late."]
    )
    query = await minilm.embed_query("when do we write the test")
    scores = [float(np.dot(query.dense, passage.dense)) for passage in passages]
    assert int(np.argmax(scores)) == 0
    assert scores[0] > 2 * max(scores[1:])


async def test_minilm_is_the_librarys_own_vector(minilm: MiniLmEmbedder) -> None:
    texts = ["The final examination takes place on Monday.", "Cells."]
    theirs = await asyncio.to_thread(minilm._model.encode, texts)
    for embedding, vector in zip(await minilm.embed_passages(texts), theirs, strict=True):
        assert embedding.dense == pytest.approx(vector.tolist(), abs=1e-4)


async def test_questions_and_passages_weigh_words_differently(minilm: MiniLmEmbedder) -> None:
    [passage] = await minilm.embed_passages(["rain rain rain"])
    query = await minilm.embed_query("rain rain rain")
    assert passage.sparse.indices == query.sparse.indices
    assert passage.sparse.values[0] > query.sparse.values[0] == 1.0


async def test_minilm_without_weights_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="safetensors"):
        await MiniLmEmbedder.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelUnavailable, match="could not be loaded"):
        await MiniLmEmbedder.load(tmp_path)


async def test_an_engine_takes_the_threads_it_is_given() -> None:
    import torch

    before = torch.get_num_threads()
    try:
        for wanted in (1, 2):
            engine = await MiniLmEmbedder.load(threads=wanted)
            # The thread in which the model runs asks for its own.
            assert await asyncio.wrap_future(engine._batcher._thread.submit(torch.get_num_threads)) == wanted
            await engine.close()
    finally:
        torch.set_num_threads(before)


def test_the_package_carries_no_pickle() -> None:
    assert not [path for path in packaged_folder().rglob("*") if path.suffix in {".bin", ".pt", ".pkl"}]


async def test_bge_gives_the_librarys_own_dense_and_lexical_weights(tmp_path: Path) -> None:
    engine = await BgeEmbedder.load(await asyncio.to_thread(write_bge_m3, tmp_path / "bge"))
    texts = ["the exam is on monday", "cells divide in two unknown words"]
    theirs = await asyncio.to_thread(engine._model.encode, texts, return_sparse=True)
    ours = await engine.embed_passages(texts)
    await engine.close()
    for embedding, dense, weights in zip(ours, theirs["dense_vecs"], theirs["lexical_weights"], strict=True):
        assert embedding.dense == pytest.approx(dense.tolist(), abs=1e-4)
        mine = dict(zip(embedding.sparse.indices, embedding.sparse.values, strict=True))
        assert mine == pytest.approx({int(token): float(weight) for token, weight in weights.items()}, abs=1e-4)


async def test_the_reranker_gives_the_librarys_own_scores(tmp_path: Path) -> None:
    engine = await BgeReranker.load(await asyncio.to_thread(write_reranker, tmp_path / "reranker"))
    texts = ["the exam is on monday", "cells divide in two"]
    theirs = await asyncio.to_thread(
        engine._model.compute_score, [("when is the exam", text) for text in texts], normalize=True
    )
    ours = await engine.rerank("when is the exam", texts)
    await engine.close()
    assert ours == pytest.approx(theirs, abs=1e-3)
