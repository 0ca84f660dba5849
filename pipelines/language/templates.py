"""Loads text skills from folders of ``{id}.json`` and ``prompts/{id}.jinja`` (see configs/templates/README.md).

A broken template is remembered with what is wrong with it, and stops nothing else.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError

from pipelines.domain.template import Reduction, Schema, Template, TemplateMode
from pipelines.errors import InvalidRequest, NotFound, TemplateInvalid
from pipelines.language.extraction import fill, sample_source
from pipelines.language.grounding import complete_computed
from pipelines.language.prompts import PARAMETERS, check_prompt
from pipelines.language.schemas import enum_parameters, for_request, inline_references, schema_problems

FEATURES = ("summary", "clean_transcript", "translation", "entities", "classification", "quality")
REWRITING_FEATURES = ("clean_transcript", "translation")
DEFAULT_TEMPLATES = {
    "clean_transcript": "transcript_cleanup_v1",
    "translation": "translation_v1",
    "entities": "entities_v1",
    "classification": "classification_v1",
    "quality": "call_quality_v1",
}
"""Which shipped template serves a feature that names none. A summary has no default: what belongs in it differs."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_LARGEST_FILE_BYTES = 200_000
_CHOICES = {"x-mode": ("document", "rewrite"), "x-reduce": ("model", "merge"), "x-extractive": (True, False)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateCatalog:
    """All templates that were found."""

    templates: Mapping[str, Template] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    """Id → what is wrong, for health and for whoever asks for it."""

    def get(self, template_id: str) -> Template:
        """Return a template. Raises NotFound, and TemplateInvalid (what is wrong with it) for a broken one."""
        if template_id in self.templates:
            return self.templates[template_id]
        if template_id in self.broken:
            raise TemplateInvalid(f"template {template_id}: {self.broken[template_id]}", "template_id")
        raise NotFound(f"there is no template {template_id!r}", "template_id")

    def for_feature(self, feature: str, template_id: str | None = None) -> Template:
        """Return the template that a request wants for a feature, or the feature's default.

        Raises InvalidRequest (none named and no default, unknown, or made for another feature), TemplateInvalid.
        """
        wanted = template_id or DEFAULT_TEMPLATES.get(feature)
        if wanted is None:
            raise InvalidRequest(f"the feature {feature} needs a template_id", "template_id")
        try:
            template = self.get(wanted)
        except NotFound as error:
            raise InvalidRequest(error.message, "template_id") from None
        if template.feature != feature:
            raise InvalidRequest(f"template {wanted} is made for {template.feature}, not for {feature}", "template_id")
        return template


def load_templates(folders: Sequence[Path]) -> TemplateCatalog:
    """Load every template of every folder; a later folder replaces an earlier one's template of the same id.

    A folder that does not exist is itself reported as broken. Nothing is raised.
    """
    templates: dict[str, Template] = {}
    broken: dict[str, str] = {}
    for folder in folders:
        if not folder.is_dir():
            broken[folder.name] = "this template folder does not exist"
        for path in sorted(folder.glob("*.json")):
            templates.pop(path.stem, None)
            broken.pop(path.stem, None)
            try:
                templates[path.stem] = load_template(path)
            except TemplateInvalid as error:
                broken[path.stem] = error.message
    return TemplateCatalog(templates=templates, broken=broken)


def load_template(path: Path) -> Template:
    """Load one template from its schema's file. Raises TemplateInvalid: what is wrong, without a path."""
    if not _ID.fullmatch(path.stem):
        raise TemplateInvalid("the name may hold letters, digits, _ and -, at most 63")
    schema_text = _read(path)
    prompt = _read(path.parent / "prompts" / f"{path.stem}.jinja")
    schema = _checked_schema(schema_text)
    parameters = tuple(cast(Sequence[str], schema.get("x-parameters", ())))
    check_prompt(prompt, parameters)
    _check_hints(schema)
    return Template(
        id=path.stem,
        feature=str(schema["x-feature"]),
        title=str(schema["title"]),
        description=str(schema.get("description", "")),
        schema=schema,
        prompt=prompt,
        hash=_hash(schema_text, prompt),
        mode=cast(TemplateMode, schema.get("x-mode", "document")),
        reduction=cast(Reduction, schema.get("x-reduce", "model")),
        max_tokens=cast(int, schema.get("x-max-tokens", 1024)),
        parameters=parameters,
        extractive=bool(schema.get("x-extractive", True)),
    )


def _hash(schema_text: str, prompt: str) -> str:
    return f"sha256:{hashlib.sha256(json.dumps([schema_text, prompt]).encode()).hexdigest()}"


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise TemplateInvalid(f"{path.name} is larger than {_LARGEST_FILE_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TemplateInvalid(f"{path.name} is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateInvalid(f"{path.name} cannot be read: {type(error).__name__}") from error


def _checked_schema(text: str) -> dict[str, object]:
    try:
        document = json.loads(text)
        Draft202012Validator.check_schema(document)
        schema = inline_references(_as_object(document))
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise TemplateInvalid(f"not a JSON Schema: {error.message} (at {error.json_path})") from error
    except (ValueError, RecursionError) as error:
        raise TemplateInvalid(f"not a usable JSON Schema: {error}") from error
    problems = [*_heading_problems(schema), *schema_problems(schema)]
    if problems:
        raise TemplateInvalid("; ".join(problems[:5]))
    return schema


def _check_hints(schema: Schema) -> None:
    """Answer two small transcripts by the hints, so that a wrong hint shows at start."""
    wanted = for_request(schema, {name: ["one", "two"] for name in PARAMETERS})
    try:
        for source in (sample_source(), sample_source(empty=True)):
            answer = complete_computed(wanted, cast(Mapping[str, object], fill(wanted, source)))
            Draft202012Validator(wanted).validate(answer)
    except ValidationError as error:
        raise TemplateInvalid(f"its hints give an answer that does not fit: {error.message[:200]}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as error:
        raise TemplateInvalid(f"its hints cannot be followed: {type(error).__name__}: {error}") from error


def _as_object(document: object) -> dict[str, object]:
    if not isinstance(document, dict):
        raise ValueError("it is not an object")
    return document


def _heading_problems(schema: Mapping[str, object]) -> list[str]:
    """Check what stands beside ``properties`` at the top."""
    problems = [
        f"{key} must be one of {choices}"
        for key, choices in _CHOICES.items()
        if schema.get(key, choices[0]) not in choices
    ]
    if schema.get("x-feature") not in FEATURES:
        problems.append(f"x-feature must be one of {', '.join(FEATURES)}")
    if not isinstance(schema.get("title"), str):
        problems.append("a title is missing")
    if not isinstance(limit := schema.get("x-max-tokens", 1024), int) or not 1 <= limit <= 32_768:
        problems.append("x-max-tokens must be a whole number from 1 to 32768")
    wanted = schema.get("x-parameters", [])
    if not isinstance(wanted, list) or not set(map(str, wanted)) <= PARAMETERS:
        problems.append(f"x-parameters may hold {', '.join(sorted(PARAMETERS))}")
    elif not enum_parameters(schema) <= set(wanted):
        problems.append("x-enum-from must name one of x-parameters")
    if (schema.get("x-mode") == "rewrite") != (schema.get("x-feature") in REWRITING_FEATURES):
        problems.append(f"x-mode must be rewrite for {' and '.join(REWRITING_FEATURES)}, and for no other feature")
    elif schema.get("x-mode") == "rewrite" and list(cast(Schema, schema.get("properties", {}))) != ["text"]:
        problems.append("a rewriting template has one property, text")
    return problems
