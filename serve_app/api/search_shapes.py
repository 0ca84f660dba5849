"""What a search answers with."""

from typing import Any

from pydantic import BaseModel

from pipelines.domain.encoding import to_plain
from pipelines.domain.passage import Hit, Passage, SearchResult, StageScores
from serve_app.api.shapes import DegradationBody, job_path


class StageScoresBody(BaseModel):
    """A score per stage of the search; null where the stage did not see the passage."""

    dense: float | None
    sparse: float | None
    rerank: float | None


class TextSpanBody(BaseModel):
    """Characters of a text."""

    start: int
    end: int


class PassageBody(BaseModel):
    """A stretch of a transcript, and the address at which it can be heard."""

    passage_id: str
    job_id: str
    recording: str
    start_s: float
    end_s: float
    speakers: list[str]
    language: str
    text: str
    metadata: dict[str, str]
    audio: str


class HitBody(PassageBody):
    """One found passage."""

    score: float
    scores: StageScoresBody
    collection: str
    highlights: list[TextSpanBody]
    before: PassageBody | None
    after: PassageBody | None


class SearchBody(BaseModel):
    """What was found, best first."""

    query: str
    mode: str
    degraded: list[DegradationBody]
    hits: list[HitBody]


def search_body(query: str, result: SearchResult) -> SearchBody:
    """Show what a search found."""
    return SearchBody(
        query=query,
        mode=result.mode,
        degraded=[DegradationBody(**to_plain(entry)) for entry in result.degraded],
        hits=[hit_body(hit) for hit in result.hits],
    )


def hit_body(hit: Hit) -> HitBody:
    """Show one found passage."""
    return HitBody(
        **_passage_fields(hit.passage),
        score=hit.score,
        scores=_scores_body(hit.scores),
        collection=hit.collection,
        highlights=[TextSpanBody(**to_plain(span)) for span in hit.highlights],
        before=passage_body(hit.before) if hit.before else None,
        after=passage_body(hit.after) if hit.after else None,
    )


def passage_body(passage: Passage) -> PassageBody:
    """Show a passage."""
    return PassageBody(**_passage_fields(passage))


def audio_address(job_id: str, start_s: float, end_s: float) -> str:
    """Return where a stretch of a recording can be heard (a media fragment: W3C Media Fragments URI 1.0)."""
    return f"{job_path(job_id)}/audio#t={round(start_s, 3)},{round(end_s, 3)}"


def _scores_body(scores: StageScores) -> StageScoresBody:
    return StageScoresBody(dense=scores.dense, sparse=scores.sparse, rerank=scores.rerank)


def _passage_fields(passage: Passage) -> dict[str, Any]:
    return {
        "passage_id": passage.passage_id,
        "job_id": passage.job_id,
        "recording": passage.recording,
        "start_s": passage.start_s,
        "end_s": passage.end_s,
        "speakers": list(passage.speakers),
        "language": passage.language,
        "text": passage.text,
        "metadata": dict(passage.metadata),
        "audio": audio_address(passage.job_id, passage.start_s, passage.end_s),
    }
