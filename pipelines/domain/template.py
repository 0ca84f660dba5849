"""Templates, and the text skills that fill them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pipelines.domain.answer import SamplingOptions
from pipelines.domain.model import Degradation
from pipelines.domain.transcript import Transcript

Schema = Mapping[str, object]
"""A JSON Schema (draft 2020-12) without references: they are inlined when a template is loaded."""

TemplateMode = Literal["document", "rewrite"]
Reduction = Literal["model", "merge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One text skill, checked when it was loaded."""

    id: str
    """The file's name without its ending: ``meeting_notes_v1``."""
    feature: str
    """Which job feature it serves (``x-feature``): ``summary``, ``entities``, ``quality``, …"""
    title: str
    description: str
    schema: Schema
    """With the ``x-`` hints; a result of this template always fits it."""
    prompt: str
    """Jinja source of the instructions. The transcript is never part of it: it is a message of its own."""
    hash: str
    """``sha256:`` over schema and prompt: stands in ``versions``."""
    mode: TemplateMode = "document"
    """``document``: one answer about the whole text. ``rewrite``: one answer a speaker's turn (``x-mode``)."""
    reduction: Reduction = "model"
    """How the answers about parts of a long text become one (``x-reduce``): by the model again, or by merging lists."""
    max_tokens: int = 1024
    """Budget for one answer (``x-max-tokens``)."""
    parameters: tuple[str, ...] = ()
    """What a request must bring along (``x-parameters``): ``labels``, ``target_language``."""
    extractive: bool = True
    """False where no answer can be made without a language model (``x-extractive``): translation."""


class Skill(StrEnum):
    """What can be done with a text."""

    ENHANCE = "enhance"
    SUMMARIZE = "summarize"
    TRANSLATE = "translate"
    ENTITIES = "entities"
    CLASSIFY = "classify"
    EVALUATE = "evaluate"

    @property
    def feature(self) -> str:
        """The feature of a recording's job that does the same."""
        return _FEATURES[self]


_FEATURES = {
    Skill.ENHANCE: "clean_transcript",
    Skill.SUMMARIZE: "summary",
    Skill.TRANSLATE: "translation",
    Skill.ENTITIES: "entities",
    Skill.CLASSIFY: "classification",
    Skill.EVALUATE: "quality",
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
