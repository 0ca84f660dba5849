"""What a job asked to be understood of a transcript."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipelines.domain.encoding import to_plain
from pipelines.domain.job import JobRequest
from pipelines.domain.model import AsrInfo, Degradation
from pipelines.domain.template import Skill, SkillOutcome, SkillRequest, Template
from pipelines.domain.transcript import LANGUAGE_NAMES, Segment, Transcript, primary_language
from pipelines.domain.understanding import EnhancementReport, UnderstandingReport, UnderstandingRequest
from pipelines.domain.writing import join_texts
from pipelines.errors import InvalidRequest, RayScribeError
from pipelines.language.enhance import enhance_transcript
from pipelines.language.generation import LanguageModelSession, open_session
from pipelines.language.ports import LanguagePorts
from pipelines.language.rewriting import RewriteRun, measure_edit_rate, rejected_chunk, rewrite_turns, spoken, summed_up
from pipelines.language.sampling import language_versions
from pipelines.language.skills import SkillResult, SkillRun
from pipelines.language.templates import FEATURES, TemplateCatalog

MOST_LABELS = 200
LONGEST_LABEL = 100


def check_text_features(request: UnderstandingRequest, catalog: TemplateCatalog) -> Mapping[str, Template]:
    """Return the template of each text feature that is asked for.

    Raises InvalidRequest, naming the field: an unknown template or one for another feature, no labels or too many, no
    target language or an unknown one. Raises TemplateInvalid for a broken template.
    """
    wanted = [feature for feature in request.features if feature in FEATURES]
    templates = {feature: catalog.for_feature(feature, request.templates.get(feature)) for feature in wanted}
    needed = {parameter for template in templates.values() for parameter in template.parameters}
    if "labels" in needed:
        _check_labels(request.labels)
    if "target_language" in needed:
        _check_language(request.target_language)
    return templates


def parameters_of(template: Template, request: UnderstandingRequest) -> dict[str, object]:
    """Return what the request brings along for this template."""
    known: dict[str, object] = {"labels": request.labels, "target_language": request.target_language}
    return {name: known[name] for name in template.parameters}


def _check_labels(labels: Sequence[str]) -> None:
    if not labels:
        raise InvalidRequest("classification needs labels", "labels")
    if len(labels) > MOST_LABELS:
        raise InvalidRequest(f"there may be at most {MOST_LABELS} labels, these are {len(labels)}", "labels")
    if any(not label.strip() or len(label) > LONGEST_LABEL for label in labels):
        raise InvalidRequest(f"a label must have 1 to {LONGEST_LABEL} characters", "labels")
    if len(set(labels)) < len(labels):
        raise InvalidRequest("a label is given twice", "labels")


def _check_language(language: str | None) -> None:
    if not language:
        raise InvalidRequest("translation needs a target_language", "target_language")
    if primary_language(language) not in LANGUAGE_NAMES:
        raise InvalidRequest(f"{language[:20]!r} is not a language code like 'de' or 'pt-BR'", "target_language")


_UNDERSTOOD = ("summary", "translation", "entities", "classification", "quality")
_UNTRANSLATED_CHARACTERS = 40
"""From this length on, a translation that equals its source is none."""
_MOST_LENGTHENED, _MOST_SHORTENED = 6.0, 0.1


async def understand_transcript(
    transcript: Transcript, request: UnderstandingRequest, ports: LanguagePorts
) -> UnderstandingReport:
    """Answer every text feature of the request; a model that is down, slow or senseless is reported, never raised.

    What the model cannot answer is filled in from the transcript alone and marked in ``degraded``; a translation cannot
    be, and is None then. Raises InvalidRequest and TemplateInvalid (see ``check_text_features``), and InvalidRequest
    for a target language that the model does not know.
    """
    wanted = replace(request, features=tuple(feature for feature in request.features if feature in _UNDERSTOOD))
    templates = check_text_features(wanted, ports.templates)
    if not templates:
        return UnderstandingReport()
    session, reason = await _session(request, ports) if spoken(transcript) else (None, None)
    if session is not None and "translation" in templates:
        _check_pair(request.target_language or "", session)
    tasks = (_Task(template, transcript, request, ports, session, reason).run() for template in templates.values())
    results = dict(zip(templates, await asyncio.gather(*tasks), strict=True))
    return UnderstandingReport(
        results={feature: result.answer for feature, result in results.items()},
        versions={feature: result.versions for feature, result in results.items()},
        degraded=tuple(degradation for result in results.values() for degradation in result.degraded),
    )


async def _session(
    request: UnderstandingRequest, ports: LanguagePorts
) -> tuple[LanguageModelSession | None, str | None]:
    if ports.model is None:
        return None, "no language model is configured"
    try:
        return await open_session(ports.model, ports.options, request.sampling), None
    except RayScribeError as error:
        return None, str(error)


def _check_pair(target: str, session: LanguageModelSession) -> None:
    known = {primary_language(language) for language in session.info.languages}
    if known and primary_language(target) not in known:
        raise InvalidRequest(f"{session.info.name} does not translate into {target!r}", "target_language")


class _Task:
    """One feature of one transcript."""

    def __init__(
        self,
        template: Template,
        transcript: Transcript,
        request: UnderstandingRequest,
        ports: LanguagePorts,
        session: LanguageModelSession | None,
        reason: str | None,
    ) -> None:
        """``reason`` says why there is no session; both are None where nothing was said."""
        self._template = template
        self._transcript = transcript
        self._parameters = parameters_of(template, request)
        self._ports = ports
        self._session = session
        self._reason = reason

    async def run(self) -> SkillResult:
        if self._session is None:
            return await self._without_model(self._reason)
        try:
            return await self._by_model(self._session)
        except RayScribeError as error:
            return await self._without_model(str(error))

    async def _by_model(self, session: LanguageModelSession) -> SkillResult:
        if self._template.feature == "translation":
            return await self._translated(session)
        skill = SkillRun(
            template=self._template,
            parameters=self._parameters,
            transcript=self._transcript,
            session=session,
            analyst=self._ports.analyst,
        )
        return await skill.run()

    async def _without_model(self, reason: str | None) -> SkillResult:
        """Let the transcript speak for itself; ``reason`` None: nothing was said, and nothing is missing."""
        info = await self._ports.analyst.info()
        answer: Mapping[str, object] | None = None
        by_words: tuple[Degradation, ...] = ()
        if self._template.extractive:
            extraction = await self._ports.analyst.fill(self._template, self._transcript, self._parameters)
            answer, by_words = extraction.answer, extraction.degradations("understand")
        elif reason is None:
            answer = self._translation(())
        degradation = reason and self._degradation(info.name if answer is not None else "none", reason)
        return SkillResult(
            answer=answer,
            versions=language_versions(self._template, info, fallback=degradation or None, parts=1),
            degraded=(*((degradation,) if degradation else ()), *by_words),
        )

    def _degradation(self, used: str, reason: str) -> Degradation:
        wanted = self._session.info.name if self._session else "language model"
        message = f"{self._template.feature}: {reason}"
        return Degradation(stage="understand", wanted=wanted, used=used, reason=message)

    async def _translated(self, session: LanguageModelSession) -> SkillResult:
        if self._same_language():
            versions = language_versions(self._template, session.info, skipped="it is in that language already")
            return SkillResult(answer=self._translation(spoken(self._transcript)), versions=versions)
        run = await rewrite_turns(session, self._template, self._transcript, self._parameters, _judge_translation)
        if run.failed and len(run.failed) == len(run.turns):
            raise run.failed[0].error or InvalidRequest("nothing was translated")
        return self._translation_result(run, session)

    def _same_language(self) -> bool:
        target = str(self._parameters["target_language"])
        return primary_language(target) == primary_language(self._transcript.language)

    def _translation_result(self, run: RewriteRun, session: LanguageModelSession) -> SkillResult:
        missing = [turn for turn in run.turns if turn.text is None]
        segments = [
            replace(turn.segments[0], end_s=turn.segments[-1].end_s, text=turn.text or turn.raw, words=())
            for turn in run.turns
        ]
        untranslated = [to_plain(rejected_chunk(turn)) for turn in missing]
        degraded = (summed_up("understand", session.info.name, "untranslated", missing, len(run.turns)),)
        return SkillResult(
            answer=self._translation(segments) | {"untranslated": untranslated},
            versions=run.versions,
            degraded=degraded if missing else (),
        )

    def _translation(self, segments: "tuple[Segment, ...] | list[Segment]") -> dict[str, object]:
        return {
            "language": str(self._parameters["target_language"]),
            "source_language": self._transcript.language,
            "text": join_texts(segment.text for segment in segments),
            "segments": [
                {"start_s": segment.start_s, "end_s": segment.end_s, "speaker": segment.speaker, "text": segment.text}
                for segment in segments
            ],
            "untranslated": [],
        }


def _judge_translation(raw: str, translated: str) -> str | None:
    """Refuse what is far too long or short for a translation, and long texts that come back as they were."""
    ratio = len(translated) / len(raw)
    if len(raw) >= _UNTRANSLATED_CHARACTERS and not _MOST_SHORTENED <= ratio <= _MOST_LENGTHENED:
        return "length"
    same = measure_edit_rate(raw, translated) == 0.0
    return "untranslated" if same and len(raw) >= _UNTRANSLATED_CHARACTERS else None


@dataclass(frozen=True, slots=True)
class RecordingUnderstanding:
    """Implements Understanding over the text skills."""

    ports: LanguagePorts

    async def enhance(self, transcript: Transcript, request: JobRequest, asr: AsrInfo) -> EnhancementReport:
        """Make the transcript readable, unless the speech model already wrote punctuation."""
        return await enhance_transcript(transcript, self.ports, asr=asr, wanted=request.enhance)

    async def understand(self, transcript: Transcript, request: JobRequest) -> UnderstandingReport:
        """Answer the text features of the job; its ``template_id`` is the summary's."""
        return await understand_transcript(transcript, understanding_request(request), self.ports)


def understanding_request(request: JobRequest) -> UnderstandingRequest:
    """Translate a job's request; also what a submission is checked with before it is acknowledged."""
    return UnderstandingRequest(
        features=request.features,
        templates={"summary": request.template_id} if request.template_id else {},
        labels=request.labels,
        target_language=request.target_language,
    )


async def apply_skill(request: SkillRequest, ports: LanguagePorts) -> SkillOutcome:
    """Return the skill's answer; a model that is down, slow or senseless is reported in it, never raised.

    Raises InvalidRequest and TemplateInvalid as ``check_skill`` does, and InvalidRequest for a language that the model
    does not know.
    """
    if request.skill is Skill.ENHANCE:
        report = await enhance_transcript(
            request.transcript, ports, template_id=request.template_id, sampling=request.sampling
        )
        return _enhanced(report)
    understood = await understand_transcript(request.transcript, _understanding(request), ports)
    return _understood(request.skill, understood)


def check_skill(request: SkillRequest, templates: TemplateCatalog) -> None:
    """Raise InvalidRequest, naming the field, or TemplateInvalid for what cannot be done whatever the text."""
    check_text_features(_understanding(request), templates)


def _understanding(request: SkillRequest) -> UnderstandingRequest:
    feature = request.skill.feature
    return UnderstandingRequest(
        features=(feature,),
        templates={feature: request.template_id} if request.template_id else {},
        labels=request.labels,
        target_language=request.target_language,
        sampling=request.sampling,
    )


def _enhanced(report: EnhancementReport) -> SkillOutcome:
    result = {
        "text": report.transcript.text,
        "segments": [to_plain(segment) for segment in report.transcript.segments],
        "edit_rate": report.edit_rate,
        "rejected": [to_plain(chunk) for chunk in report.rejected],
        "skipped": report.skipped,
    }
    return SkillOutcome(result=result, versions=report.versions, degraded=report.degraded)


def _understood(skill: Skill, report: UnderstandingReport) -> SkillOutcome:
    feature = skill.feature
    versions = report.versions.get(feature)
    return SkillOutcome(
        result=report.results.get(feature),
        versions=versions if isinstance(versions, dict) else {},
        degraded=report.degraded,
    )
