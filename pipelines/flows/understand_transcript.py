"""Summary, translation, entities, classification and quality of one transcript, all at once, each by its template."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from pipelines.domain.encoding import to_plain
from pipelines.domain.languages import primary_language
from pipelines.domain.model import Degradation
from pipelines.domain.template import Template
from pipelines.domain.transcript import Segment, Transcript
from pipelines.domain.understanding import UnderstandingReport, UnderstandingRequest
from pipelines.errors import InvalidRequest, RayScribeError
from pipelines.flows.ask_language_model import LanguageModelSession, open_session
from pipelines.flows.enhance_transcript import LanguagePorts
from pipelines.flows.rewrite_turns import RewriteRun, rejected_chunk, rewrite_turns, spoken, summed_up
from pipelines.flows.run_skill import Skill, SkillResult
from pipelines.steps.check_text_features import check_text_features, parameters_of
from pipelines.steps.language_versions import language_versions
from pipelines.steps.measure_edit_rate import measure_edit_rate

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
        skill = Skill(
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
        if self._template.extractive:
            answer = await self._ports.analyst.fill(self._template, self._transcript, self._parameters)
        elif reason is None:
            answer = self._translation(())
        degradation = reason and self._degradation(info.name if answer is not None else "none", reason)
        return SkillResult(
            answer=answer,
            versions=language_versions(self._template, info, fallback=degradation or None, parts=1),
            degraded=(degradation,) if degradation else (),
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
            "text": " ".join(segment.text for segment in segments),
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
