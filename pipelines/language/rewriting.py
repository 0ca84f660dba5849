"""Turns rewritten by a language model, judged, and put back on their segments."""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rapidfuzz.distance import Levenshtein

from pipelines.domain.model import Degradation, DegradedStage
from pipelines.domain.template import Template
from pipelines.domain.transcript import Segment, Transcript
from pipelines.domain.understanding import RejectedChunk, TranscriptPart
from pipelines.domain.writing import find_pieces, join_texts
from pipelines.errors import GenerationInvalid, RayScribeError
from pipelines.language.generation import Effort, LanguageModelSession
from pipelines.language.prompts import build_skill_prompt, restore
from pipelines.language.sampling import ResolvedSampling, language_versions
from pipelines.language.schemas import for_model, for_request
from pipelines.language.skills import prompt_variables
from pipelines.language.text import split_turns

Judge = Callable[[str, str], str | None]
"""Raw and rewritten text → why the rewritten one cannot be what was asked for, or None."""
_TOKENS_BESIDES = 64
"""JSON around the text, and punctuation that was not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewrittenTurn:
    """One chunk and what became of it."""

    segments: tuple[Segment, ...]
    raw: str
    text: str | None
    """None: rejected, for the reason below."""
    reason: str | None = None
    edit_rate: float | None = None
    """Of what the model wrote, used or not."""
    error: RayScribeError | None = None
    """Set where the model gave no answer at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewriteRun:
    """All chunks of a transcript, in order, and what stands in ``versions``."""

    turns: tuple[RewrittenTurn, ...]
    versions: Mapping[str, object]

    @property
    def failed(self) -> tuple[RewrittenTurn, ...]:
        """Chunks to which the model gave no answer."""
        return tuple(turn for turn in self.turns if turn.error is not None)


async def rewrite_turns(
    session: LanguageModelSession,
    template: Template,
    transcript: Transcript,
    parameters: Mapping[str, object],
    judge: Judge,
) -> RewriteRun:
    """Have every speaker's turn rewritten by the template's one text field. Never raises for what the model does."""
    schema = for_model(for_request(template.schema, parameters))
    variables = prompt_variables(transcript, parameters, part=1, parts=1)
    chunks = split_turns(spoken(transcript), session.options.chunk_characters)
    effort = Effort()

    async def rewrite(chunk: TranscriptPart) -> RewrittenTurn:
        raw = text_of(chunk.segments)
        try:
            messages = build_skill_prompt(template, schema, variables, chunk.segments)
            answer = await session.ask(messages, schema, _sampling(session, template, raw).sampling, effort)
            text = " ".join(str(restore(answer["text"])).split())
            reason = "empty" if not text else judge(raw, text)
            rate = measure_edit_rate(raw, text)
            kept = None if reason else text
            return RewrittenTurn(segments=chunk.segments, raw=raw, text=kept, reason=reason, edit_rate=rate)
        except GenerationInvalid as error:
            return RewrittenTurn(segments=chunk.segments, raw=raw, text=None, reason=error.code)
        except RayScribeError as error:
            return RewrittenTurn(segments=chunk.segments, raw=raw, text=None, reason=error.code, error=error)

    turns = await asyncio.gather(*(rewrite(chunk) for chunk in chunks))
    versions = language_versions(
        template,
        session.info,
        resolved=session.resolve(template.max_tokens),
        chunks=len(chunks),
        calls=effort.calls,
        retries=effort.retries,
    )
    return RewriteRun(turns=tuple(turns), versions=versions)


def spoken(transcript: Transcript) -> list[Segment]:
    """Return the segments that have text."""
    return [segment for segment in transcript.segments if segment.text.strip()]


def text_of(segments: Sequence[Segment]) -> str:
    """Join the texts of a chunk."""
    return join_texts(segment.text for segment in segments)


def rejected_chunk(turn: RewrittenTurn) -> RejectedChunk:
    """Describe a chunk whose rewritten text was not used."""
    return RejectedChunk(
        start_s=turn.segments[0].start_s,
        end_s=turn.segments[-1].end_s,
        reason=turn.reason or "unknown",
        edit_rate=turn.edit_rate,
    )


def summed_up(
    stage: DegradedStage, wanted: str, used: str, failed: Sequence[RewrittenTurn], chunks: int
) -> Degradation:
    """Say once for all chunks why another text than the model's stands there."""
    causes = sorted({str(turn.error or turn.reason) for turn in failed})
    reason = f"{len(failed)} of {chunks} chunks: {'; '.join(causes)}"
    return Degradation(stage=stage, wanted=wanted, used=used, reason=reason)


def _sampling(session: LanguageModelSession, template: Template, raw: str) -> ResolvedSampling:
    """Bound an answer by what it rewrites: at most a token a character, of which short turns need little."""
    return session.resolve(min(template.max_tokens, len(raw) + _TOKENS_BESIDES))


def align_rewrite(segments: Sequence[Segment], rewritten: str) -> tuple[Segment, ...]:
    """Return the segments of one turn with the rewritten words divided among them, in order; none is lost.

    Words are aligned by edit distance on their letters alone; a segment that keeps no word is left out. Word times
    are dropped, because the words are no longer those that were timed. An empty text gives no segments.
    """
    rewritten = " ".join(rewritten.split())
    words = list(find_pieces(rewritten))
    spoken = [_letters(word.group()) for segment in segments for word in find_pieces(segment.text)]
    bounds = _map_boundaries(_boundaries(segments), spoken, [_letters(word.group()) for word in words])
    places = [*(word.start() for word in words), len(rewritten)]
    pieces = [rewritten[places[start] : places[end]].strip() for start, end in zip([0, *bounds], bounds, strict=False)]
    aligned = zip(segments, pieces, strict=True)
    return tuple(replace(segment, text=text, words=()) for segment, text in aligned if text)


def _letters(word: str) -> str:
    return re.sub(r"\W", "", word).casefold() or word


def _boundaries(segments: Sequence[Segment]) -> list[int]:
    """Return, for each segment, how many words stand up to its end."""
    total, boundaries = 0, []
    for segment in segments:
        total += sum(1 for _ in find_pieces(segment.text))
        boundaries.append(total)
    return boundaries


def _map_boundaries(boundaries: Sequence[int], spoken: Sequence[str], words: Sequence[str]) -> list[int]:
    """Return where each boundary of ``spoken`` lies in ``words``; the last one is the end of both."""
    blocks = Levenshtein.opcodes(spoken, words)
    mapped = []
    for boundary in boundaries[:-1]:
        block = next((block for block in blocks if block.src_start <= boundary <= block.src_end), None)
        mapped.append(min(block.dest_start + boundary - block.src_start, block.dest_end) if block else len(words))
    return [*mapped, len(words)]


def measure_edit_rate(raw: str, rewritten: str) -> float:
    """Return the character Levenshtein distance ÷ the length of the longer text: 0 equal, 1 nothing in common.

    White space counts as single spaces; two empty texts are equal.
    """
    return float(Levenshtein.normalized_distance(" ".join(raw.split()), " ".join(rewritten.split())))


def overall_edit_rate(pairs: Iterable[tuple[str, str]]) -> float | None:
    """Return the edit rate over many (raw, rewritten) pairs, weighted by length; None where all are empty."""
    distance, length = 0.0, 0
    for raw, rewritten in pairs:
        longer = max(len(" ".join(raw.split())), len(" ".join(rewritten.split())))
        distance, length = distance + measure_edit_rate(raw, rewritten) * longer, length + longer
    return distance / length if length else None
