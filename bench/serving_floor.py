"""What Serve itself takes for a request of a search's shape: an ingress and two calls, one after the other, all empty.

What a search adds beyond this is ours; what this takes is Serve's proxy, routers and Ray's serialization.
"""

from typing import Any

from fastapi import FastAPI, Request
from ray import serve
from ray.serve import Application

from bench.synthetic_passages import synthetic_passages
from pipelines.domain.passage import Embedding, Hit, SparseVector, StageScores

ROUTE = "/floor"
_HITS = 10
_api = FastAPI()


class EmptyEmbedder:
    """Answers with a vector of the usual size."""

    def __init__(self) -> None:
        self._vector = Embedding(
            dense=tuple(i / 384 for i in range(384)), sparse=SparseVector(indices=(1, 2, 3, 4), values=(1.0,) * 4)
        )

    async def embed(self, question: str) -> Embedding:
        """Return the same vector for every question."""
        return self._vector


class EmptyStore:
    """Answers with as many passages as a search finds."""

    def __init__(self) -> None:
        self._hits = tuple(
            Hit(passage=passage, collection="floor", score=0.5, scores=StageScores(dense=0.5, sparse=1.0))
            for passage in synthetic_passages(0, _HITS)
        )

    async def find(self, vector: Embedding) -> tuple[Hit, ...]:
        """Return the same passages for every vector."""
        return self._hits


@serve.ingress(_api)
class EmptyIngress:
    """Asks the one, then the other."""

    def __init__(self, embedder: Any, store: Any) -> None:
        self._embedder, self._store = embedder, store

    @_api.post("/")
    async def search(self, request: Request) -> dict[str, Any]:
        """Answer with what a search answers, nearly."""
        question = (await request.json())["query"]
        hits = await self._store.find.remote(await self._embedder.embed.remote(question))
        return {"hits": [{"score": hit.score, "text": hit.passage.text} for hit in hits]}


def build_floor(_: dict[str, str]) -> Application:
    """Return the empty application."""
    options: dict[str, Any] = {"ray_actor_options": {"num_cpus": 0.1}, "max_ongoing_requests": 64}
    deploy: Any = serve.deployment(**options)
    application: Application = deploy(EmptyIngress).bind(deploy(EmptyEmbedder).bind(), deploy(EmptyStore).bind())
    return application


def floor_application() -> dict[str, str]:
    """Return its entry in a Serve config file."""
    return {"name": "floor", "route_prefix": ROUTE, "import_path": "bench.serving_floor:build_floor"}
