"""Text skills: what can be done with a text, what is asked of one, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipelines.domain.answer import SamplingOptions
from pipelines.domain.job import Feature
from pipelines.domain.model import Degradation
from pipelines.domain.transcript import Transcript


class Skill(StrEnum):
    """What can be done with a text."""

    ENHANCE = "enhance"
    SUMMARIZE = "summarize"
    TRANSLATE = "translate"
    ENTITIES = "entities"
    CLASSIFY = "classify"
    EVALUATE = "evaluate"

    @property
    def feature(self) -> Feature:
        """The feature of a recording's job that does the same."""
        return _FEATURES[self]


_FEATURES = {
    Skill.ENHANCE: Feature.CLEAN_TRANSCRIPT,
    Skill.SUMMARIZE: Feature.SUMMARY,
    Skill.TRANSLATE: Feature.TRANSLATION,
    Skill.ENTITIES: Feature.ENTITIES,
    Skill.CLASSIFY: Feature.CLASSIFICATION,
    Skill.EVALUATE: Feature.QUALITY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillRequest:
    """One skill, and the text that it is to be applied to."""

    skill: Skill
    transcript: Transcript
    template_id: str | None = None
    labels: tuple[str, ...] = ()
    """To classify."""
    target_language: str | None = None
    """To translate."""
    sampling: SamplingOptions = field(default_factory=SamplingOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillOutcome:
    """What came of it, as plain JSON values."""

    result: object
    """Fits the template; None where neither a model nor the text alone could answer."""
    versions: Mapping[str, object] = field(default_factory=dict)
    degraded: tuple[Degradation, ...] = ()
