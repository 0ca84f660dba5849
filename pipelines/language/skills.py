"""Answers one template about one transcript: split, ask about every part at once, reduce; extractive where it fails."""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from jsonschema import Draft202012Validator

from pipelines.domain.model import Degradation
from pipelines.domain.template import Schema, Template
from pipelines.domain.transcript import Transcript, language_name
from pipelines.domain.understanding import TranscriptPart
from pipelines.errors import GenerationInvalid, InvalidRequest, RayScribeError, TooLarge
from pipelines.language.generation import CONTEXT_MARGIN, Effort, LanguageModelSession
from pipelines.language.grounding import complete_computed, ground_items, group_answers, merge_answers
from pipelines.language.prompts import as_data, build_reduction_prompt, build_skill_prompt, restore, transcript_line
from pipelines.language.sampling import ResolvedSampling, language_versions
from pipelines.language.schemas import for_model, for_request
from pipelines.language.text import Measure, split_transcript
from pipelines.ports.language import TranscriptAnalyst

_LEAST_PART_TOKENS = 64
_ATTEMPTS_TO_FIT = 6

FilledTemplate = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillResult:
    """An answer that fits the template, and how it came about."""

    answer: Mapping[str, object] | None
    """None where neither a model nor the transcript alone could answer."""
    versions: Mapping[str, object]
    degraded: tuple[Degradation, ...] = ()


@dataclass(slots=True, kw_only=True)
class SkillRun:
    """One template at work on one transcript."""

    template: Template
    parameters: Mapping[str, object]
    transcript: Transcript
    session: LanguageModelSession
    analyst: TranscriptAnalyst
    schema: Schema = field(init=False)
    model_schema: Schema = field(init=False)
    resolved: ResolvedSampling = field(init=False)
    effort: Effort = field(init=False, default_factory=Effort)
    degraded: list[Degradation] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.schema = for_request(self.template.schema, self.parameters)
        self.model_schema = for_model(self.schema)
        self.resolved = self.session.resolve(self.template.max_tokens)

    async def run(self) -> SkillResult:
        """Ask the model. Raises RayScribeError where it has no answer to any part of the transcript."""
        parts = await self._parts()
        answers = await asyncio.gather(*(self._about_part(part, len(parts)) for part in parts), return_exceptions=True)
        known = await self._all_known(parts, answers)
        answer = await self._reduced(known)
        return SkillResult(
            answer=self._finished(answer),
            versions=language_versions(
                self.template,
                self.session.info,
                resolved=self.resolved,
                parts=len(parts),
                calls=self.effort.calls,
                retries=self.effort.retries,
            ),
            degraded=tuple(self.degraded),
        )

    def variables(self, part: int = 1, parts: int = 1) -> dict[str, object]:
        """Return what the prompt may use; texts that come from outside are data, also here."""
        return prompt_variables(self.transcript, self.parameters, part=part, parts=parts)

    async def _parts(self) -> tuple[TranscriptPart, ...]:
        """Split so that every part, measured by the model's own tokenizer, fits beside instructions and answer."""
        budget = await self._budget()
        timed, count = self.transcript.duration_s > 0, self.session.model.count_tokens
        everything = "\n".join(transcript_line(segment, timed=timed) for segment in self.transcript.segments)
        [tokens] = await count([everything])
        tokens_per_character = tokens / max(len(everything), 1)
        for _ in range(_ATTEMPTS_TO_FIT):
            measure = _measure(tokens_per_character, timed=timed)
            parts = split_transcript(self.transcript.segments, budget, measure)
            if len(parts) > self.session.options.max_parts:
                raise TooLarge(f"the text needs {len(parts)} parts, more than {self.session.options.max_parts}")
            sizes = await count([_text_of(part, timed=timed) for part in parts])
            if max(sizes) <= budget:
                return parts
            tokens_per_character *= 1.05 * max(sizes) / budget
        raise InvalidRequest("the text cannot be split to fit the language model's context")

    async def _budget(self) -> int:
        """Tokens that a part may have. Raises InvalidRequest where the instructions alone fill the context."""
        messages = build_skill_prompt(self.template, self.model_schema, self.variables(2, 3), ())
        [used] = await self.session.model.count_tokens(["\n".join(message.content for message in messages)])
        budget = int(CONTEXT_MARGIN * self.session.context_tokens) - used - (self.resolved.sampling.max_tokens or 0)
        if budget < _LEAST_PART_TOKENS:
            raise InvalidRequest(f"template {self.template.id} does not fit the language model's context")
        return budget

    async def _about_part(self, part: TranscriptPart, parts: int) -> FilledTemplate:
        variables = self.variables(part.index + 1, parts)
        messages = build_skill_prompt(self.template, self.model_schema, variables, part.segments)
        answer = await self.session.ask(messages, self.model_schema, self.resolved.sampling, self.effort)
        return await asyncio.to_thread(ground_items, self.schema, _restored(answer), part.segments)

    async def _all_known(
        self, parts: Sequence[TranscriptPart], answers: Sequence[FilledTemplate | BaseException]
    ) -> list[FilledTemplate]:
        """Let the transcript speak for itself where the model did not. Raises the first error where it never did."""
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        unexpected = next((error for error in errors if not isinstance(error, RayScribeError)), None)
        if unexpected is not None or len(errors) == len(answers):
            raise unexpected or errors[0]
        return [
            await self._extracted(part, answer, len(parts)) if isinstance(answer, BaseException) else answer
            for part, answer in zip(parts, answers, strict=True)
        ]

    async def _extracted(self, part: TranscriptPart, error: BaseException, parts: int) -> FilledTemplate:
        self._degrade("extractive", f"{self.template.feature}, part {part.index + 1} of {parts}: {error}")
        extraction = await self.analyst.fill(
            self.template, replace(self.transcript, segments=part.segments), self.parameters
        )
        self.degraded += extraction.degradations("understand")
        asked = cast(Mapping[str, object], self.model_schema["properties"])
        return {name: value for name, value in extraction.answer.items() if name in asked}

    async def _reduced(self, answers: list[FilledTemplate]) -> FilledTemplate:
        """Make one answer of many, in rounds whose prompts fit the context."""
        if self.template.reduction == "merge" and len(answers) > 1:
            return await asyncio.to_thread(merge_answers, self.model_schema, answers)
        while len(answers) > 1:
            budget = await self._budget()
            sizes = await self.session.model.count_tokens([json.dumps(answer) for answer in answers])
            groups = [[answers[index] for index in group] for group in group_answers(sizes, budget)]
            answers = list(await asyncio.gather(*map(self._one_of, groups)))
        return answers[0]

    async def _one_of(self, group: Sequence[FilledTemplate]) -> FilledTemplate:
        if len(group) == 1:
            return group[0]
        messages = build_reduction_prompt(self.template, self.model_schema, self.variables(), group)
        try:
            answer = await self.session.ask(messages, self.model_schema, self.resolved.sampling, self.effort)
        except RayScribeError as error:
            self._degrade("merged lists", f"{self.template.feature}, reducing {len(group)} parts: {error}")
            return await asyncio.to_thread(merge_answers, self.model_schema, group)
        return await asyncio.to_thread(ground_items, self.schema, _restored(answer), self.transcript.segments)

    def _finished(self, answer: FilledTemplate) -> FilledTemplate:
        complete = complete_computed(self.schema, answer)
        if not Draft202012Validator(self.schema).is_valid(complete):
            raise GenerationInvalid("the language model's answer does not fit the schema")
        return complete

    def _degrade(self, used: str, reason: str) -> None:
        wanted = self.session.info.name
        self.degraded.append(Degradation(stage="understand", wanted=wanted, used=used, reason=reason))


def prompt_variables(
    transcript: Transcript, parameters: Mapping[str, object], *, part: int, parts: int
) -> dict[str, object]:
    """Return what a prompt may use (see configs/templates/README.md)."""
    variables: dict[str, object] = {
        "language": language_name(transcript.language),
        "speakers": [as_data(speaker)[:64] for speaker in transcript.speakers],
        "timed": transcript.duration_s > 0,
        "part": part,
        "parts": parts,
    }
    if isinstance(labels := parameters.get("labels"), tuple | list):
        variables["labels"] = [as_data(str(label)) for label in labels]
    if target := parameters.get("target_language"):
        variables["target_language"] = language_name(str(target))
    return variables


def _measure(tokens_per_character: float, *, timed: bool) -> Measure:
    return lambda segment: math.ceil((len(transcript_line(segment, timed=timed)) + 1) * tokens_per_character)


def _text_of(part: TranscriptPart, *, timed: bool) -> str:
    return "\n".join(transcript_line(segment, timed=timed) for segment in part.segments)


def _restored(answer: FilledTemplate) -> FilledTemplate:
    restored = restore(answer)
    return restored if isinstance(restored, dict) else answer
