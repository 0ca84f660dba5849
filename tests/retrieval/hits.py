"""Short ways to write hits in tests."""

from pipelines.domain.answer import Source
from pipelines.domain.passage import Hit, Passage, StageScores
from pipelines.retrieval.passages import ChunkingOptions, PassageSource, chunk_transcript
from tests.speakers.transcripts import segment, transcript


def passage(*spoken: tuple[str, str, float, float], job: str = "job-1", recording: str = "talk.wav") -> Passage:
    """One passage of (text, speaker, start, end)."""
    segments = [segment(text, start, end, speaker=speaker) for text, speaker, start, end in spoken]
    source = PassageSource(tenant="a", collection="notes", job_id=job, recording=recording, metadata={})
    [made] = chunk_transcript(transcript(*segments), source, ChunkingOptions(min_words=1_000, span_words=1_000))
    return made


def hit(of: Passage, *, score: float = 0.9, scores: StageScores | None = None) -> Hit:
    return Hit(passage=of, collection="notes", score=score, scores=scores or StageScores(dense=0.8, sparse=3.0))


def sources(*passages: Passage) -> list[Source]:
    return [Source(n=n, hit=hit(of)) for n, of in enumerate(passages, start=1)]
