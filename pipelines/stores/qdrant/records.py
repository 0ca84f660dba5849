"""Passages, vectors and filters as Qdrant writes them."""

import json
from collections.abc import Mapping
from typing import Any

from qdrant_client import models

from pipelines.domain.encoding import from_plain, to_plain
from pipelines.domain.passage import Embedding, Passage, SearchFilters, SparseVector

DENSE = "dense"
SPARSE = "sparse"

PAYLOAD_INDEXES: Mapping[str, models.PayloadSchemaType] = {
    "job_id": models.PayloadSchemaType.KEYWORD,
    "speakers": models.PayloadSchemaType.KEYWORD,
    "language": models.PayloadSchemaType.KEYWORD,
    "labels": models.PayloadSchemaType.KEYWORD,
    "start_s": models.PayloadSchemaType.FLOAT,
    "end_s": models.PayloadSchemaType.FLOAT,
    "position": models.PayloadSchemaType.INTEGER,
}


def to_point(passage: Passage, embedding: Embedding) -> models.PointStruct:
    """Return the point of a passage: its id, both vectors, and the record itself as payload."""
    vectors: dict[str, Any] = {DENSE: list(embedding.dense)}
    if embedding.sparse.indices:
        vectors[SPARSE] = to_sparse(embedding.sparse)
    labels = [_label(key, value) for key, value in passage.metadata.items()]
    return models.PointStruct(id=passage.passage_id, vector=vectors, payload=to_plain(passage) | {"labels": labels})


def to_passage(payload: Mapping[str, Any]) -> Passage:
    """Return the passage that ``to_point`` wrote."""
    return from_plain(Passage, {key: value for key, value in payload.items() if key != "labels"})


def to_sparse(vector: SparseVector) -> models.SparseVector:
    """Return the same vector as Qdrant's."""
    return models.SparseVector(indices=list(vector.indices), values=list(vector.values))


def to_filter(filters: SearchFilters) -> models.Filter | None:
    """Return the conditions that all must hold; None where there are none."""
    conditions: list[Any] = [
        models.FieldCondition(key=key, match=models.MatchAny(any=list(values)))
        for key, values in (
            ("job_id", filters.job_ids),
            ("speakers", filters.speakers),
            ("language", filters.languages),
        )
        if values
    ]
    if filters.start_s is not None:
        conditions.append(models.FieldCondition(key="end_s", range=models.Range(gt=filters.start_s)))
    if filters.end_s is not None:
        conditions.append(models.FieldCondition(key="start_s", range=models.Range(lt=filters.end_s)))
    conditions += [
        models.FieldCondition(key="labels", match=models.MatchValue(value=_label(key, value)))
        for key, value in filters.metadata.items()
    ]
    return models.Filter(must=conditions) if conditions else None


def job_filter(job_id: str, position: models.FieldCondition | None = None) -> models.Filter:
    """Return the condition for one job's passages, narrowed to some positions where given."""
    conditions: list[Any] = [models.FieldCondition(key="job_id", match=models.MatchValue(value=job_id))]
    return models.Filter(must=conditions + ([position] if position else []))


def _label(key: str, value: str) -> str:
    """Metadata keys are the client's: as part of a value they cannot be read as a path into the payload."""
    return json.dumps([key, value], ensure_ascii=False)
