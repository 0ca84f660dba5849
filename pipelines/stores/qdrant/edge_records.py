"""What a call of qdrant-client says, in the words of Qdrant Edge, and its answers back.

Only what our store sends: all conditions of a filter must hold, a match of one or several values, a range.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import qdrant_edge as edge
from qdrant_client import models

_SCHEMAS = {
    models.PayloadSchemaType.KEYWORD: edge.PayloadSchemaType.Keyword,
    models.PayloadSchemaType.INTEGER: edge.PayloadSchemaType.Integer,
    models.PayloadSchemaType.FLOAT: edge.PayloadSchemaType.Float,
}


def to_config(
    vectors: Mapping[str, models.VectorParams], sparse_vectors: Mapping[str, models.SparseVectorParams]
) -> edge.EdgeConfig:
    """Return a shard's configuration: every search is exact, since no graph is ever built.

    For 100,000 passages of 384 numbers a graph takes a minute and a half to build, and a scan 17 ms. One thread
    searches: the others belong to the recognizer. There is no write-ahead log, which would keep the words of what was
    erased: whoever writes flushes. A single deleted point is worth writing the shard anew (``EdgeShards.erase``).
    Vectors come into memory as they are read: 32 MB a collection instead of 64, at the same cost of a search.
    """
    return edge.EdgeConfig(
        vectors={
            name: edge.EdgeVectorParams(size=vector.size, distance=edge.Distance.Cosine, memory=edge.Memory.Cold)
            for name, vector in vectors.items()
        },
        sparse_vectors={
            name: edge.EdgeSparseVectorParams(
                modifier=edge.Modifier.Idf if vector.modifier == models.Modifier.IDF else None
            )
            for name, vector in sparse_vectors.items()
        },
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=0, deleted_threshold=0.0, vacuum_min_vector_number=1),
        max_search_threads=1,
        wal_enabled=False,
    )


def to_schema(kind: models.PayloadSchemaType) -> edge.PayloadSchemaType:
    """Return the kind of a payload index."""
    return _SCHEMAS[kind]


def to_points(points: Sequence[models.PointStruct]) -> list[edge.Point]:
    """Return points to write."""
    return [
        edge.Point(point.id, {name: _to_vector(vector) for name, vector in _vectors(point).items()}, point.payload)
        for point in points
    ]


def to_query(request: models.QueryRequest) -> edge.QueryRequest:
    """Return one search of a batch."""
    if request.limit is None:
        raise TypeError("a search says how many it wants")
    return edge.QueryRequest(
        limit=request.limit,
        query=edge.Query.Nearest(_to_vector(request.query), using=request.using),
        filter=to_edge_filter(request.filter),
        with_payload=bool(request.with_payload),
        with_vector=request.with_vector,
    )


def to_edge_filter(wanted: models.Filter | None) -> edge.Filter | None:
    """Return the same conditions."""
    if wanted is None:
        return None
    conditions: Any = wanted.must or []
    return edge.Filter(must=[_to_condition(condition) for condition in conditions])


def to_id_filter(ids: Sequence[Any]) -> edge.Filter:
    """Return the condition for points of these ids."""
    return edge.Filter(must=[edge.HasIdCondition(set(ids))])


def to_scored_point(point: edge.ScoredPoint) -> models.ScoredPoint:
    """Return a found point as qdrant-client would."""
    return models.ScoredPoint(
        id=str(point.id),
        version=point.version,
        score=point.score,
        payload=point.payload,
        vector=_from_vectors(point.vector),
    )


def to_record(record: edge.Record) -> models.Record:
    """Return a point of a scroll as qdrant-client would."""
    return models.Record(id=str(record.id), payload=record.payload, vector=_from_vectors(record.vector))


def _vectors(point: models.PointStruct) -> Mapping[str, Any]:
    if not isinstance(point.vector, dict):
        raise TypeError("a point's vectors have names")
    return point.vector


def _to_vector(vector: Any) -> Any:
    if isinstance(vector, models.SparseVector):
        return edge.SparseVector(vector.indices, vector.values)
    return vector


def _from_vectors(vectors: Any) -> Any:
    if not isinstance(vectors, dict):
        return None
    return {
        name: models.SparseVector(indices=vector.indices, values=vector.values)
        if isinstance(vector, edge.SparseVector)
        else vector
        for name, vector in vectors.items()
    }


def _to_condition(condition: models.FieldCondition) -> edge.FieldCondition:
    match condition.match:
        case models.MatchValue(value=value):
            return edge.FieldCondition(condition.key, match=edge.MatchValue(value))
        case models.MatchAny():
            values: Any = condition.match.any
            return edge.FieldCondition(condition.key, match=edge.MatchAny(values))
    limits = condition.range
    if not isinstance(limits, models.Range):
        raise TypeError(f"a condition on {condition.key} that no search of ours has")
    return edge.FieldCondition(
        condition.key, range=edge.RangeFloat(gte=limits.gte, gt=limits.gt, lte=limits.lte, lt=limits.lt)
    )
