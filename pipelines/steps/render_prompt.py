"""Renders a template's instructions. Jinja runs in a sandbox, and an unknown variable is an error, never a blank."""

from collections.abc import Mapping, Sequence

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipelines.errors import TemplateInvalid

PARAMETERS = frozenset({"labels", "target_language"})
"""What a request may bring along; a template declares those it needs in ``x-parameters``."""

VARIABLES: dict[str, object] = {
    "language": "en",
    "speakers": ["SPEAKER_00", "SPEAKER_01"],
    "timed": True,
    "part": 1,
    "parts": 1,
    "labels": ["one", "two"],
    "target_language": "German",
}
"""One value for every variable that a prompt may use; documented in configs/templates/README.md."""
_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_LONGEST_PROMPT = 20_000


def render_prompt(prompt: str, variables: Mapping[str, object]) -> str:
    """Return the instructions. Raises TemplateInvalid where a variable is undefined or the source is not Jinja."""
    try:
        text = _ENVIRONMENT.from_string(prompt).render(**variables).strip()
    except (TemplateError, TypeError, ValueError, ArithmeticError, RecursionError, LookupError) as error:
        raise TemplateInvalid(f"the prompt cannot be rendered: {error}") from error
    if not text or len(text) > _LONGEST_PROMPT:
        raise TemplateInvalid(f"the prompt must have 1 to {_LONGEST_PROMPT} characters, it has {len(text)}")
    return text


def check_prompt(prompt: str, parameters: Sequence[str]) -> None:
    """Render with sample values, so that a mistake shows at start. Raises TemplateInvalid.

    Parameters that the template does not declare are undefined here, because a request need not bring them.
    """
    missing = PARAMETERS - set(parameters)
    for parts in (1, 3):
        known = {name: value for name, value in VARIABLES.items() if name not in missing}
        render_prompt(prompt, known | {"parts": parts})
