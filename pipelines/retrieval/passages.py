"""A transcript cut into passages that can be found and cited."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pipelines.domain.passage import Passage, SpokenSpan
from pipelines.domain.transcript import Segment, Transcript
from pipelines.domain.words import TimedWord, locate_words
from pipelines.domain.writing import ends_sentence, space_between

PASSAGE_NAMESPACE = uuid.UUID("5f0e2c9a-7a54-5d0b-9a37-3b1f6f0c8d21")
"""The UUIDv5 namespace of passage ids; changing it makes every index a stranger to its jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkingOptions:
    """How large passages are and where they may end; chosen by ``bench/bench_retrieval.py`` (bench/README.md).

    Small ones are found better and play from the right second; what surrounds them is read with them (``Hit.before``,
    ``Hit.after``).
    """

    target_words: int = 20
    """From here on a passage ends at the next end of a sentence."""
    max_words: int = 40
    """A passage never has more words than this, and an overlap."""
    max_s: float = 60.0
    """Nor does it last longer than this, unless a single span does."""
    min_words: int = 8
    """A change of speaker or a pause ends a passage only if it has so many words: short exchanges stay together."""
    max_pause_s: float = 4.0
    """A longer pause is taken for a change of subject."""
    overlap_words: int = 10
    """A passage cut for its size repeats at most so many words of the end of the one before, in whole spans."""
    span_words: int = 12
    """A span (the unit that has its own time and speaker) has at most so many words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassageSource:
    """What all passages of one job have in common."""

    tenant: str
    collection: str
    job_id: str
    recording: str
    metadata: Mapping[str, str]
    revision: int = 1
    """Of the transcript."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    text: str
    glued: bool
    """True: it goes on where the span before it ends, without white space."""
    words: int
    start_s: float
    end_s: float
    speaker: str | None

    @property
    def ends_sentence(self) -> bool:
        return ends_sentence(self.text)


def passage_id(tenant: str, collection: str, job_id: str, position: int) -> str:
    """Return the id of a job's n-th passage: the same one whenever and wherever it is computed (UUIDv5)."""
    return str(uuid.uuid5(PASSAGE_NAMESPACE, json.dumps([tenant, collection, job_id, position])))


def chunk_transcript(
    transcript: Transcript, source: PassageSource, options: ChunkingOptions | None = None
) -> tuple[Passage, ...]:
    """Cut a transcript into passages that end with sentences and, where long enough, with turns.

    Every word of the transcript is in a passage, in order; with ``overlap_words`` some are in two.
    """
    options = options or ChunkingOptions()
    spans = [span for segment in transcript.segments for span in _spans(segment, options.span_words)]
    return tuple(
        _passage(group, position, source, transcript.language) for position, group in enumerate(_group(spans, options))
    )


def _spans(segment: Segment, span_words: int) -> Iterator[_Span]:
    words = locate_words(segment)
    bounds = [0, *_span_ends(words, span_words)]
    before = None
    for first, last in pairwise(bounds):
        start = words[first].offset if first else 0
        end = words[last].offset if last < len(words) else len(segment.text)
        text = segment.text[start:end]
        yield _Span(
            text=text.strip(),
            glued=before is not None and not before[-1:].isspace(),
            words=last - first,
            start_s=words[first].start_s,
            end_s=words[last - 1].end_s,
            speaker=segment.speaker,
        )
        before = text


def _span_ends(words: Sequence[TimedWord], span_words: int) -> list[int]:
    ends: list[int] = []
    for place, word in enumerate(words, start=1):
        length = place - (ends[-1] if ends else 0)
        if length == span_words or place == len(words) or ends_sentence(word.text):
            ends.append(place)
    return ends


def _group(spans: Sequence[_Span], options: ChunkingOptions) -> Iterator[list[_Span]]:
    group: list[_Span] = []
    for span in spans:
        if group and _must_end(group, span, options):
            yield group
            group = _overlap(group, span, options)
        group.append(span)
    if group:
        yield group


def _must_end(group: Sequence[_Span], following: _Span, options: ChunkingOptions) -> bool:
    words = sum(span.words for span in group)
    last = group[-1]
    if words + following.words > options.max_words or following.end_s - group[0].start_s > options.max_s:
        return True
    if words >= options.target_words and last.ends_sentence:
        return True
    return words >= options.min_words and _breaks(last, following, options)


def _breaks(last: _Span, following: _Span, options: ChunkingOptions) -> bool:
    return following.speaker != last.speaker or following.start_s - last.end_s > options.max_pause_s


def _overlap(group: Sequence[_Span], following: _Span, options: ChunkingOptions) -> list[_Span]:
    """Return the spans of the old passage that the new one begins with: none across turns and pauses."""
    if _breaks(group[-1], following, options):
        return []
    kept: list[_Span] = []
    for span in reversed(group[1:]):
        if sum(other.words for other in kept) + span.words > options.overlap_words:
            break
        kept.insert(0, span)
    return kept


def _passage(group: Sequence[_Span], position: int, source: PassageSource, language: str) -> Passage:
    text = ""
    spoken = []
    for span in group:
        text += ("" if span.glued else space_between(text, span.text)) + span.text
        spoken.append(
            SpokenSpan(
                start=len(text) - len(span.text),
                end=len(text),
                start_s=span.start_s,
                end_s=span.end_s,
                speaker=span.speaker,
            )
        )
    return Passage(
        passage_id=passage_id(source.tenant, source.collection, source.job_id, position),
        job_id=source.job_id,
        recording=source.recording,
        position=position,
        start_s=group[0].start_s,
        end_s=max(span.end_s for span in group),
        speakers=tuple(dict.fromkeys(span.speaker for span in group if span.speaker)),
        language=language,
        text=text,
        metadata=source.metadata,
        revision=source.revision,
        spans=tuple(spoken),
    )


_DIFFERENT_S = 0.001


def same_passage(one: Passage, other: Passage) -> bool:
    """Compare all fields; times that are less than a millisecond apart are the same.

    Not every store gives back the last digits of a number: Qdrant's engine rounds one float in ten, and of those below
    1e-7 it changes digits each time they are copied.
    """
    return one == other or (_timeless(one) == _timeless(other) and _close(_times(one), _times(other)))


def _timeless(passage: Passage) -> Passage:
    spans = tuple(replace(span, start_s=0.0, end_s=0.0) for span in passage.spans)
    return replace(passage, start_s=0.0, end_s=0.0, spans=spans)


def _times(passage: Passage) -> tuple[float, ...]:
    spoken = tuple(moment for span in passage.spans for moment in (span.start_s, span.end_s))
    return (passage.start_s, passage.end_s, *spoken)


def _close(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(first - second) < _DIFFERENT_S for first, second in zip(one, other, strict=True))
