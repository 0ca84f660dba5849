from typing import Any

import httpx
import pytest

from pipelines.domain.passage import Passage
from pipelines.errors import EmbedderMismatch, ModelUnavailable, PassageStoreUnavailable
from pipelines.fakes.models import FakeEmbedder
from pipelines.fakes.passages import FakeReranker, InMemoryPassageStore
from pipelines.retrieval.query_cache import CachedQueries
from serve_app.settings import Settings
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import KEYED

TEXTS = ("the exam is in june", "who will grade the exam", "mitochondria make energy")


async def fill(world: World, tenant: str = "default", collection: str = "bio") -> None:
    """Put three passages into a collection."""
    embedder = FakeEmbedder()
    passages = [
        Passage(
            passage_id=f"00000000-0000-0000-0000-00000000000{position}",
            job_id="job-1",
            recording="lecture.wav",
            position=position,
            start_s=10.0 * position,
            end_s=10.0 * position + 9.87654,
            speakers=("SPEAKER_00",),
            language="en",
            text=text,
            metadata={"week": "3"},
        )
        for position, text in enumerate(TEXTS)
    ]
    await world.passages.ensure_collection(tenant, collection, await embedder.info())
    vectors = await embedder.embed_passages(TEXTS)
    await world.passages.upsert(tenant, collection, passages, vectors, embedder=await embedder.info())


async def search(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/search", json={"query": "exam", "collection": "bio", **fields})


async def test_a_hit_has_every_key_of_the_contract_and_can_be_heard(world: World) -> None:
    await fill(world)

    body = (await search(world.client, query="exam in june")).json()

    assert (body["query"], body["mode"], body["degraded"]) == ("exam in june", "hybrid", [])
    hit = body["hits"][0]
    assert set(hit) >= {
        "passage_id", "score", "scores", "collection", "job_id", "recording", "start_s", "end_s", "speakers",
        "language", "text", "audio",
    }  # fmt: skip
    assert set(hit["scores"]) == {"dense", "sparse", "rerank"}
    assert (hit["text"], hit["audio"]) == (TEXTS[0], "/v1/jobs/job-1/audio#t=0.0,9.877")


async def test_several_collections_neighbours_and_highlights(world: World) -> None:
    await fill(world)
    await fill(world, collection="chem")

    body = (
        await search(
            world.client, collection=None, collections=["bio", "chem"], top_k=6, neighbours=True, highlight=True
        )
    ).json()

    assert {hit["collection"] for hit in body["hits"]} == {"bio", "chem"}
    assert any(hit["before"] or hit["after"] for hit in body["hits"])
    assert any(hit["highlights"] for hit in body["hits"])


async def test_reranking_where_there_is_none_is_said(world: World) -> None:
    await fill(world)

    body = (await search(world.client, rerank=True)).json()

    assert body["degraded"][0]["stage"] == "answer"
    assert body["hits"]


async def test_reranking(build: BuildWorld) -> None:
    world = await build(reranker=FakeReranker())
    await fill(world)

    body = (await search(world.client, rerank=True)).json()

    assert body["degraded"] == []
    assert all(hit["scores"]["rerank"] is not None for hit in body["hits"])


async def test_questions_go_through_the_memory_and_health_does_not(build: BuildWorld) -> None:
    queries = CachedQueries(FakeEmbedder())
    world = await build(queries=queries)
    await fill(world)

    for _ in range(2):
        await search(world.client)
    await world.client.post("/v1/chat", json={"question": "exam", "collection": "bio"})

    assert queries.misses == 1
    assert queries.hits >= 2
    assert world.services.embedder is not queries


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": ""}, "query"),
        ({"query": "   "}, "query"),
        ({"query": "x" * 4_001}, "query"),
        ({"query": 5}, "query"),
        ({"query": None}, "query"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 10_000}, "top_k"),
        ({"top_k": "many"}, "top_k"),
        ({"mode": "psychic"}, "mode"),
        ({"collection": "../other"}, "collection"),
        ({"collection": None}, None),
        ({"collections": ["a"]}, None),
        ({"filters": {"speakers": "SPEAKER_00"}}, "filters.speakers"),
        ({"filters": {"start_s": -1}}, "filters.start_s"),
        ({"filters": {"tenant": "other"}}, "filters.tenant"),
        ({"filters": {"start_s": 5, "end_s": 1}}, "filters"),
        ({"filters": {"metadata": {"a": 1}}}, "filters.metadata.a"),
        ({"tenant": "other"}, "tenant"),
    ],
)
async def test_what_cannot_be_searched_is_named(world: World, fields: dict[str, Any], param: str | None) -> None:
    await fill(world)

    response = await search(world.client, **fields)

    assert response.status_code == 422, response.text
    assert response.json()["error"]["param"] == param


async def test_a_query_of_a_megabyte_is_too_large(world: World) -> None:
    assert (await search(world.client, query="x" * 1_000_001)).status_code == 413


async def test_limits_are_settings(build: BuildWorld) -> None:
    world = await build(Settings(limits={"search_top_k": 20, "query_characters": 10}))

    assert (await search(world.client, top_k=21)).json()["error"]["param"] == "top_k"
    assert (await search(world.client, query="x" * 11)).json()["error"]["param"] == "query"


async def test_an_unknown_collection_and_another_tenants_are_the_same(build: BuildWorld) -> None:
    world = await build(KEYED, key="key-b")
    await fill(world, tenant="tenant-a")

    foreign, unknown = await search(world.client), await search(world.client, collection="nothing")

    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert foreign.json()["error"]["message"].replace("bio", "nothing") == unknown.json()["error"]["message"]


class FailingStore(InMemoryPassageStore):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def search(self, *args: Any, **kwargs: Any) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (PassageStoreUnavailable("the vector store does not answer", None, 60.0), 503, "passage_store_unavailable"),
        (EmbedderMismatch("other vectors"), 409, "embedder_mismatch"),
        (ModelUnavailable("no embedder"), 503, "model_unavailable"),
    ],
)
async def test_what_is_down_is_said_and_counted(build: BuildWorld, error: Exception, status: int, code: str) -> None:
    world = await build(passages=FailingStore(error))

    response = await search(world.client)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert ("retry-after" in response.headers) == (status == 503)
    assert ("searches", {"mode": "hybrid", "outcome": code}) in world.metrics.counted


class TestCollections:
    async def test_list_show_delete(self, world: World) -> None:
        await fill(world)

        [listed] = (await world.client.get("/v1/collections")).json()["data"]
        shown = (await world.client.get("/v1/collections/bio")).json()
        deleted = await world.client.delete("/v1/collections/bio")

        assert listed == shown
        assert (listed["name"], listed["passages"], listed["embedder"]) == ("bio", 3, "bag-of-words")
        assert deleted.status_code == 204
        assert (await world.client.get("/v1/collections")).json()["data"] == []

    @pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e", "a%2fb", "x" * 150, "'", "%00"])
    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    async def test_unknown_and_hostile_names(self, world: World, method: str, name: str) -> None:
        response = await world.client.request(method, f"/v1/collections/{name}")

        assert response.status_code in (404, 405), response.text
        assert response.json()["error"]["code"] in ("not_found", "method_not_allowed")

    async def test_another_tenants_collection_does_not_exist(self, build: BuildWorld) -> None:
        world = await build(KEYED, key="key-b")
        await fill(world, tenant="tenant-a")

        assert (await world.client.get("/v1/collections")).json()["data"] == []
        assert (await world.client.delete("/v1/collections/bio")).status_code == 404
        assert len(await world.passages.collections("tenant-a")) == 1
