"""Text skills: text or segments in, JSON that fits a template out."""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.domain.encoding import to_plain
from pipelines.domain.transcript import Segment, Transcript
from pipelines.domain.understanding import EnhancementReport, UnderstandingReport, UnderstandingRequest
from pipelines.errors import NotAvailable
from pipelines.flows.enhance_transcript import LanguagePorts, enhance_transcript
from pipelines.flows.understand_transcript import understand_transcript
from pipelines.steps.read_spoken_text import read_segments, read_text
from serve_app.api.authentication import InferenceCaller
from serve_app.api.bodies import RequestBody
from serve_app.api.client_presence import while_connected
from serve_app.api.context import ServicesOf
from serve_app.api.documentation import error_answers
from serve_app.api.job_fields import LANGUAGE_PATTERN, NAME_PATTERN, TARGET_PATTERN
from serve_app.api.sampling_fields import SamplingFields
from serve_app.api.shapes import DegradationBody, SegmentBody, transcript_body
from serve_app.services import Services

router = APIRouter(tags=["text"])


class Skill(StrEnum):
    """What can be done with a text."""

    ENHANCE = "enhance"
    SUMMARIZE = "summarize"
    TRANSLATE = "translate"
    ENTITIES = "entities"
    CLASSIFY = "classify"
    EVALUATE = "evaluate"


_FEATURES = {
    Skill.SUMMARIZE: "summary",
    Skill.TRANSLATE: "translation",
    Skill.ENTITIES: "entities",
    Skill.CLASSIFY: "classification",
    Skill.EVALUATE: "quality",
}


class SegmentFields(RequestBody):
    """A stretch of speech; times are seconds."""

    text: str
    speaker: str | None = Field(default=None, max_length=100)
    start_s: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    end_s: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)


class TextFields(RequestBody):
    """What to work on, and how."""

    text: str | None = None
    segments: Annotated[list[SegmentFields], Field(max_length=50_000)] = Field(default=[])
    language: str = Field(default="en", pattern=LANGUAGE_PATTERN)
    template_id: str | None = Field(default=None, pattern=NAME_PATTERN, description="Required to summarize.")
    labels: Annotated[list[str], Field(max_length=10_000)] = Field(default=[], description="Required to classify.")
    target_language: str | None = Field(default=None, pattern=TARGET_PATTERN, description="Required to translate.")
    sampling: SamplingFields = SamplingFields()
    background: bool = Field(default=False, description="Not available yet.")

    @model_validator(mode="after")
    def _text_or_segments(self) -> "TextFields":
        if (self.text is None) == (not self.segments):
            raise PydanticCustomError("text", "give either text or segments")
        return self

    def to_transcript(self, most_characters: int) -> Transcript:
        """Return the text as a transcript. Raises InvalidRequest, TooLarge."""
        if self.text is not None:
            return read_text(self.text, language=self.language, most_characters=most_characters)
        segments = [
            Segment(id=0, start_s=given.start_s, end_s=given.end_s, text=given.text, speaker=given.speaker)
            for given in self.segments
        ]
        return read_segments(segments, language=self.language, most_characters=most_characters)

    def to_request(self, feature: str) -> UnderstandingRequest:
        """Return the flow's record for one feature."""
        return UnderstandingRequest(
            features=(feature,),
            templates={feature: self.template_id} if self.template_id else {},
            labels=tuple(self.labels),
            target_language=self.target_language,
            sampling=self.sampling.to_sampling(),
        )


class RejectedChunkBody(BaseModel):
    """A stretch that keeps its raw text, and why."""

    start_s: float
    end_s: float
    reason: str
    edit_rate: float | None


class SkillBody(BaseModel):
    """What came of a text; ``degraded`` says where something else than a language model answered."""

    skill: Skill
    result: Any
    versions: dict[str, Any]
    degraded: list[DegradationBody]


class EnhancedText(BaseModel):
    """``result`` of ``enhance``."""

    text: str
    segments: list[SegmentBody]
    edit_rate: float | None
    rejected: list[RejectedChunkBody]
    skipped: str | None


@router.post(
    "/v1/text/{skill}",
    summary="Enhance, summarize, translate, entities, classify, evaluate",
    responses=error_answers(404),
)
async def apply_skill(
    request: Request, skill: Skill, fields: TextFields, _caller: InferenceCaller, services: ServicesOf
) -> SkillBody:
    """Apply one skill to a text; what no model can answer is made from the text alone, and marked."""
    ports = _ports(fields, services)
    transcript = fields.to_transcript(services.settings.limits.text_characters)
    if skill is Skill.ENHANCE:
        work = enhance_transcript(
            transcript, ports, template_id=fields.template_id, sampling=fields.sampling.to_sampling()
        )
        return _enhanced(await while_connected(request, work))
    feature = _FEATURES[skill]
    report = await while_connected(request, understand_transcript(transcript, fields.to_request(feature), ports))
    return _understood(skill, feature, report)


def _ports(fields: TextFields, services: Services) -> LanguagePorts:
    if services.language is None:
        raise NotAvailable("text skills are not available in this deployment")
    if fields.background:
        raise NotAvailable("background work is not available in this deployment", "background")
    return services.language


def _enhanced(report: EnhancementReport) -> SkillBody:
    result = EnhancedText(
        text=report.transcript.text,
        segments=transcript_body(report.transcript).segments,
        edit_rate=report.edit_rate,
        rejected=[RejectedChunkBody(**to_plain(chunk)) for chunk in report.rejected],
        skipped=report.skipped,
    )
    degraded = [DegradationBody(**to_plain(entry)) for entry in report.degraded]
    return SkillBody(skill=Skill.ENHANCE, result=result.model_dump(), versions=dict(report.versions), degraded=degraded)


def _understood(skill: Skill, feature: str, report: UnderstandingReport) -> SkillBody:
    versions = report.versions.get(feature)
    return SkillBody(
        skill=skill,
        result=report.results.get(feature),
        versions=dict(versions) if isinstance(versions, dict) else {},
        degraded=[DegradationBody(**to_plain(entry)) for entry in report.degraded],
    )
