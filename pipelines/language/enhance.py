"""Makes a raw transcript readable: punctuation, capitals, slips; every word keeps its speaker and its time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipelines.domain.answer import SamplingOptions
from pipelines.domain.job import Enhance
from pipelines.domain.model import AsrInfo, Degradation, LanguageModelInfo
from pipelines.domain.template import Template
from pipelines.domain.transcript import Segment, Transcript
from pipelines.domain.understanding import EnhancementReport
from pipelines.errors import RayScribeError
from pipelines.language.generation import open_session
from pipelines.language.ports import LanguagePorts
from pipelines.language.rewriting import (
    RewriteRun,
    RewrittenTurn,
    align_rewrite,
    measure_edit_rate,
    overall_edit_rate,
    rejected_chunk,
    rewrite_turns,
    spoken,
    summed_up,
    text_of,
)
from pipelines.language.sampling import language_versions
from pipelines.language.text import split_turns, tidy_text

NATIVE_PUNCTUATION = "native_punctuation"
"""Capability of speech models whose text needs no enhancement: a property of their entry in the catalogue."""


async def enhance_transcript(
    transcript: Transcript,
    ports: LanguagePorts,
    *,
    asr: AsrInfo | None = None,
    wanted: Enhance = "auto",
    template_id: str | None = None,
    sampling: SamplingOptions | None = None,
) -> EnhancementReport:
    """Return the cleaned transcript. A model that is down, slow or senseless is reported, never raised.

    Skipped, and said so, where nothing was said, where it is ``never`` wanted, or (``auto``) where ``asr`` has the
    capability ``native_punctuation``. A chunk
    that differs more than ``options.max_edit_rate`` keeps its raw text and is listed in ``rejected``; without a model,
    every chunk is tidied by rules. Raises InvalidRequest, TemplateInvalid for the template.
    """
    template = ports.templates.for_feature("clean_transcript", template_id)
    if reason := _why_not(transcript, asr, wanted):
        return EnhancementReport(transcript=transcript, edit_rate=None, skipped=reason)
    if ports.model is None:
        return await _tidied(transcript, template, ports, "no language model is configured")
    try:
        session = await open_session(ports.model, ports.options, sampling or SamplingOptions())
    except RayScribeError as error:
        return await _tidied(transcript, template, ports, str(error))
    judge = _Judge(language=transcript.language, max_edit_rate=ports.options.max_edit_rate)
    run = await rewrite_turns(session, template, transcript, {}, judge)
    return _report(transcript, run, session.info)


@dataclass(frozen=True, slots=True)
class _Judge:
    """Tells cleaning from answering and inventing, by letters alone: punctuation and capitals may change freely."""

    language: str
    max_edit_rate: float

    def __call__(self, raw: str, rewritten: str) -> str | None:
        said = _letters(tidy_text(raw, language=self.language)) or _letters(raw)
        return "edit_rate" if measure_edit_rate(said, _letters(rewritten)) > self.max_edit_rate else None


def _letters(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _why_not(transcript: Transcript, asr: AsrInfo | None, wanted: Enhance) -> str | None:
    if not spoken(transcript):
        return "nothing was said"
    if wanted == "never":
        return "it was not wanted (enhance: never)"
    if wanted == "auto" and asr is not None and NATIVE_PUNCTUATION in asr.capabilities:
        return f"{asr.name} writes punctuation itself"
    return None


def _report(transcript: Transcript, run: RewriteRun, info: LanguageModelInfo) -> EnhancementReport:
    pairs = [(turn, _text(turn, transcript.language)) for turn in run.turns]
    segments = [segment for turn, text in pairs for segment in align_rewrite(turn.segments, text)]
    failed = run.failed
    not_used = [turn for turn in run.turns if turn.text is None]
    return EnhancementReport(
        transcript=replace(transcript, segments=numbered(segments)),
        edit_rate=overall_edit_rate((turn.raw, text) for turn, text in pairs),
        chunks=len(run.turns),
        rejected=tuple(rejected_chunk(turn) for turn in not_used),
        versions=run.versions,
        degraded=(summed_up("enhance", info.name, "extractive", failed, len(run.turns)),) if failed else (),
    )


def _text(turn: RewrittenTurn, language: str) -> str:
    """Choose the model's text, else what rules can do where it gave none, else (it invented one) what was said."""
    if turn.text is not None:
        return turn.text
    return tidy_text(turn.raw, language=language) if turn.error is not None else turn.raw


async def _tidied(transcript: Transcript, template: Template, ports: LanguagePorts, reason: str) -> EnhancementReport:
    chunks = split_turns(spoken(transcript), ports.options.chunk_characters)
    segments: list[Segment] = []
    pairs: list[tuple[str, str]] = []
    for chunk in chunks:
        extraction = await ports.analyst.fill(template, replace(transcript, segments=chunk.segments), {})
        pairs.append((text_of(chunk.segments), str(extraction.answer["text"])))
        segments += align_rewrite(chunk.segments, pairs[-1][1])
    info = await ports.analyst.info()
    degradation = Degradation(stage="enhance", wanted="language model", used=info.name, reason=reason)
    return EnhancementReport(
        transcript=replace(transcript, segments=numbered(segments)),
        edit_rate=overall_edit_rate(pairs),
        chunks=len(chunks),
        versions=language_versions(template, info, fallback=degradation, chunks=len(chunks)),
        degraded=(degradation,),
    )


def numbered(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Number the segments from 0."""
    return tuple(replace(segment, id=number) for number, segment in enumerate(segments))
