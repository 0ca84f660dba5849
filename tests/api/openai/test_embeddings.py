from typing import Any

import openai
import pytest

from pipelines.fakes.models import FakeEmbedder
from tests.api.conftest import World, listening


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_the_openai_client_gets_vectors_in_order(world: World, form: Any) -> None:
    texts = ["the exam is in june", "mitochondria"]
    async with listening(world.app) as address, openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="x") as client:
        answer = await client.embeddings.create(model="bag-of-words", input=texts, encoding_format=form)
        default = await client.embeddings.create(model="bag-of-words", input=texts[0])

    expected = [embedding.dense for embedding in await FakeEmbedder().embed_passages(texts)]
    assert [item.index for item in answer.data] == [0, 1]
    if form == "float":
        assert [item.embedding for item in answer.data] == [pytest.approx(vector) for vector in expected]
    else:
        assert len(str(answer.data[0].embedding)) == 344
    assert default.data[0].embedding == pytest.approx(expected[0], abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "other"}, 404, "model"),
        ({"input": ""}, 422, "input"),
        ({"input": "x" * 100_001}, 422, "input"),
        ({"input": 5}, 422, "input"),
        ({"input": None}, 422, "input"),
        ({"input": []}, 422, "input"),
        ({"input": ["a", "  "]}, 422, "input"),
        ({"input": ["a", ""]}, 422, "input.1"),
        ({"input": [1, 2]}, 422, "input.0"),
        ({"input": ["x"] * 257}, 422, "input"),
        ({"dimensions": 8}, 422, "dimensions"),
        ({"encoding_format": "int8"}, 422, "encoding_format"),
    ],
)
async def test_what_cannot_be_embedded(world: World, fields: dict[str, Any], status: int, param: str | None) -> None:
    response = await world.client.post("/v1/embeddings", json={"model": "bag-of-words", "input": "x", **fields})

    assert response.status_code == status, response.text
    assert response.json()["error"]["param"] == param


async def test_a_list_is_told_what_is_wrong_with_it_and_not_that_it_is_no_text(world: World) -> None:
    async def complaint(given: Any) -> str:
        response = await world.client.post("/v1/embeddings", json={"model": "bag-of-words", "input": given})
        return str(response.json()["error"]["message"])

    assert "at least 1 item" in await complaint([])
    assert "at most 256 items" in await complaint(["x"] * 257)
    assert await complaint([[1, 2]]) == "Input should be a valid string"
    assert await complaint(5) == "give a text, or a list of texts"


async def test_the_models_own_length_may_be_asked_for(world: World) -> None:
    response = await world.client.post("/v1/embeddings", json={"model": "fake", "input": "x", "dimensions": 64})

    assert len(response.json()["data"][0]["embedding"]) == 64
