"""Text skills: text or segments in, JSON that fits a template out."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.domain.encoding import to_plain
from pipelines.domain.job import JobKind, JobRequest
from pipelines.domain.template import Skill, SkillOutcome, SkillRequest
from pipelines.domain.transcript import Segment, Transcript
from pipelines.errors import NotAvailable
from pipelines.language.ports import LanguagePorts
from pipelines.language.text import read_segments, read_text
from pipelines.language.understand import apply_skill, check_skill
from serve_app.api.edge.authentication import InferenceCaller
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import RequestBody, SamplingFields, ServicesOf, while_connected
from serve_app.api.edge.shapes import DegradationBody
from serve_app.api.jobs.fields import LANGUAGE_PATTERN, NAME_PATTERN, TARGET_PATTERN, IdempotencyKey
from serve_app.api.jobs.submission import ACCEPTED, BackgroundFields, accepted, submit_request
from serve_app.services import Services

router = APIRouter(tags=["text"])


class SegmentFields(RequestBody):
    """A stretch of speech; times are seconds."""

    text: str
    speaker: str | None = Field(default=None, max_length=100)
    start_s: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    end_s: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)


class TextFields(BackgroundFields):
    """What to work on, and how."""

    text: str | None = None
    segments: Annotated[list[SegmentFields], Field(max_length=50_000)] = Field(default=[])
    language: str = Field(default="en", pattern=LANGUAGE_PATTERN)
    template_id: str | None = Field(default=None, pattern=NAME_PATTERN, description="Required to summarize.")
    labels: Annotated[list[str], Field(max_length=10_000)] = Field(default=[], description="Required to classify.")
    target_language: str | None = Field(default=None, pattern=TARGET_PATTERN, description="Required to translate.")
    sampling: SamplingFields = SamplingFields()

    @model_validator(mode="after")
    def _text_or_segments(self) -> "TextFields":
        if (self.text is None) == (not self.segments):
            raise PydanticCustomError("text", "give either text or segments")
        return self

    def _transcript(self, most_characters: int) -> Transcript:
        if self.text is not None:
            return read_text(self.text, language=self.language, most_characters=most_characters)
        segments = [
            Segment(id=0, start_s=given.start_s, end_s=given.end_s, text=given.text, speaker=given.speaker)
            for given in self.segments
        ]
        return read_segments(segments, language=self.language, most_characters=most_characters)

    def to_request(self, skill: Skill, most_characters: int) -> SkillRequest:
        """Return the flow's record. Raises InvalidRequest, TooLarge."""
        return SkillRequest(
            skill=skill,
            transcript=self._transcript(most_characters),
            template_id=self.template_id,
            labels=tuple(self.labels),
            target_language=self.target_language,
            sampling=self.sampling.to_sampling(),
        )

    def to_job_request(self, skill: Skill) -> JobRequest:
        """Return what the job is listed by: all but the text."""
        return JobRequest(
            features=(skill.feature,),
            template_id=self.template_id,
            language=self.language,
            priority=self.job_priority,
            target_language=self.target_language,
            labels=tuple(self.labels),
        )


class SkillBody(BaseModel):
    """What came of a text; ``degraded`` says where something else than a language model answered."""

    skill: Skill
    result: Any
    versions: dict[str, Any]
    degraded: list[DegradationBody]


@router.post(
    "/v1/text/{skill}",
    summary="Enhance, summarize, translate, entities, classify, evaluate",
    response_model=SkillBody,
    responses={**ACCEPTED, **error_answers(404, 409)},
)
async def use_skill(
    request: Request,
    skill: Skill,
    fields: TextFields,
    caller: InferenceCaller,
    services: ServicesOf,
    idempotency_key: IdempotencyKey,
) -> SkillBody | Response:
    """Apply one skill to a text; what no model can answer is made from the text alone, and marked.

    In the background, the job's `results` have the answer under the skill's name.
    """
    ports = skill_ports(services, skill)
    fields.check_background()
    asked = fields.to_request(skill, services.settings.limits.text_characters)
    check_skill(asked, ports.templates)
    if fields.background:
        job_request = fields.to_job_request(skill)
        return accepted(await submit_request(services, caller, idempotency_key, JobKind.TEXT, job_request, asked))
    return _skill_body(skill, await while_connected(request, apply_skill(asked, ports)))


def skill_ports(services: Services, skill: Skill) -> LanguagePorts:
    """Return what a skill works with. Raises NotAvailable where this deployment does not offer it."""
    if services.language is None:
        raise NotAvailable("text skills are not available in this deployment")
    if skill is Skill.TRANSLATE and services.language.model is None:
        raise NotAvailable("translating needs a language model, and none is configured in this deployment", "skill")
    return services.language


def _skill_body(skill: Skill, outcome: SkillOutcome) -> SkillBody:
    return SkillBody(
        skill=skill,
        result=outcome.result,
        versions=dict(outcome.versions),
        degraded=[DegradationBody(**to_plain(entry)) for entry in outcome.degraded],
    )
