"""What every Embedder must do, over the fake, all-MiniLM as it is installed, and BGE-M3's code with random weights."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.fakes.models import FakeEmbedder
from pipelines.ports.models import Embedder
from pipelines.retrieval.engines.bge import BgeEmbedder
from pipelines.retrieval.engines.minilm import MiniLmEmbedder
from tests.retrieval.engines.tiny_checkpoints import write_bge_m3

real = pytest.mark.engines


@pytest.fixture(scope="module", params=["fake", pytest.param("minilm", marks=real), pytest.param("bge", marks=real)])
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    if request.param == "fake":
        yield FakeEmbedder()
        return
    engine = _minilm() if request.param == "minilm" else _bge(tmp_path_factory.mktemp("bge"))
    yield engine
    asyncio.run(engine.close())


def _minilm() -> MiniLmEmbedder:
    return asyncio.run(MiniLmEmbedder.load())


def _bge(folder: Path) -> BgeEmbedder:
    return asyncio.run(BgeEmbedder.load(write_bge_m3(folder)))


async def test_both_halves_have_their_form(embedder: Embedder) -> None:
    size = (await embedder.info()).vector_size
    passages = await embedder.embed_passages(["the exam is on monday", "cells divide in two"])
    for embedding in (*passages, await embedder.embed_query("when is the exam")):
        assert len(embedding.dense) == size
        assert math.isclose(math.hypot(*embedding.dense), 1.0, abs_tol=1e-3)
        assert all(isinstance(value, float) for value in embedding.dense)
        assert list(embedding.sparse.indices) == sorted(set(embedding.sparse.indices))
        assert len(embedding.sparse.indices) == len(embedding.sparse.values)
        assert all(0 <= index < 2**32 for index in embedding.sparse.indices)
        assert all(value > 0 for value in embedding.sparse.values)


async def test_no_texts_no_embeddings(embedder: Embedder) -> None:
    assert await embedder.embed_passages([]) == ()


async def test_an_embedding_does_not_depend_on_its_neighbours(embedder: Embedder) -> None:
    texts = ["the exam", "a much longer text about the train that leaves at nine on monday", "cells"]
    together = await embedder.embed_passages(texts)
    for text, embedding in zip(texts, together, strict=True):
        [alone] = await embedder.embed_passages([text])
        assert embedding.dense == pytest.approx(alone.dense, abs=1e-4)
        assert embedding.sparse.indices == alone.sparse.indices


async def test_many_callers_at_once_get_their_own(embedder: Embedder) -> None:
    texts = [f"the exam is on monday number {n}" for n in range(12)]
    one_by_one = [(await embedder.embed_passages([text]))[0] for text in texts]
    at_once = await asyncio.gather(*(embedder.embed_passages([text]) for text in texts))
    for alone, (embedding,) in zip(one_by_one, at_once, strict=True):
        assert embedding.dense == pytest.approx(alone.dense, abs=1e-4)


async def test_any_text_can_be_embedded(embedder: Embedder) -> None:
    for text in ("", "   ", "?!", "🙂", "word " * 3_000, "\0"):
        [embedding] = await embedder.embed_passages([text])
        assert all(math.isfinite(value) for value in embedding.dense)
        assert all(math.isfinite(value) for value in (await embedder.embed_query(text)).dense)


async def test_it_says_what_it_is(embedder: Embedder) -> None:
    info = await embedder.info()
    assert info.role == "embedder"
    assert info.checkpoint_hash is not None
    assert info.checkpoint_hash.startswith("sha256:")
    assert {"dense", "sparse"} <= set(info.capabilities)
