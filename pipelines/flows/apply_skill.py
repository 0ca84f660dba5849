"""One skill applied to one text: the same for a request that waits and for a job."""

from pipelines.domain.encoding import to_plain
from pipelines.domain.skill import Skill, SkillOutcome, SkillRequest
from pipelines.domain.understanding import EnhancementReport, UnderstandingReport, UnderstandingRequest
from pipelines.flows.enhance_transcript import LanguagePorts, enhance_transcript
from pipelines.flows.understand_transcript import understand_transcript
from pipelines.steps.check_text_features import check_text_features
from pipelines.templates import TemplateCatalog


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
    feature = request.skill.feature.value
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
    feature = skill.feature.value
    versions = report.versions.get(feature)
    return SkillOutcome(
        result=report.results.get(feature),
        versions=versions if isinstance(versions, dict) else {},
        degraded=report.degraded,
    )
