"""Refuses what cannot be done with a text, before anything is done with it."""

from collections.abc import Mapping, Sequence

from pipelines.domain.languages import LANGUAGE_NAMES, primary_language
from pipelines.domain.template import Template
from pipelines.domain.understanding import UnderstandingRequest
from pipelines.errors import InvalidRequest
from pipelines.templates import FEATURES, TemplateCatalog

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
