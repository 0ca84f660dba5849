"""How long things took: percentiles, and the direct use of Qdrant that a search is compared with."""

from collections.abc import Sequence
from statistics import median, quantiles

from bench.synthetic_passages import COLLECTION, TENANT
from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Embedding, SearchFilters
from pipelines.stores.qdrant.connection import Connection
from pipelines.stores.qdrant.names import physical_name
from pipelines.stores.qdrant.search import stage_requests


def p50(seconds: Sequence[float]) -> float:
    """Return the median in milliseconds."""
    return 1_000 * median(seconds)


def p99(seconds: Sequence[float]) -> float:
    """Return the 99th percentile in milliseconds; of few values it is about the largest."""
    return 1_000 * quantiles(seconds, n=100, method="inclusive")[98]


async def query_directly(connection: Connection, query: Embedding, embedder: EmbedderInfo) -> None:
    """Ask for what no search can do without: both stages, in qdrant-client's own words."""
    name = physical_name(TENANT, COLLECTION, embedder)
    requests = stage_requests(query, mode="hybrid", top_k=10, filters=SearchFilters())
    await connection.call("query_batch_points", collection_name=name, requests=list(requests.values()))
