"""Templates: a text skill is a JSON Schema that bounds the answer, and a prompt that asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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
